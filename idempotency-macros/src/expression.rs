//! The user's expressions: what arguments occur in them, whether they can tell calls apart, and what they borrow.

use crate::attribute::{WORDS, word};
use proc_macro2::{TokenStream, TokenTree};
use std::collections::BTreeSet;
use syn::{Error, Expr, ExprLit, Ident, Lit, Stmt, ext::IdentExt as _, visit::Visit};

/// What an option's expression must do, or the option would switch off what it is for.
#[derive(Clone, Copy)]
pub(crate) enum Must {
    /// Only a client can say what it says.
    ComeFromAnArgument,
    /// It must be able to differ from call to call. A function that it calls may look at the caller.
    Vary,
}

/// Refuses an expression that is the same whatever is called.
pub(crate) fn check(
    (option, value, must): (&str, &Expr, Must),
    arguments: &BTreeSet<String>,
) -> Result<(), Error> {
    if !occurring(value, arguments).is_empty() {
        return Ok(());
    }
    if let Some(text) = quoted(option, value, arguments) {
        return Err(Error::new_spanned(
            value,
            format!(
                "`{option} = \"{text}\"` is a text, and the same for every call: write `{option} = {text}`, without quotes"
            ),
        ));
    }
    let because = match must {
        Must::ComeFromAnArgument => "no argument occurs in",
        Must::Vary if varies(value) => return Ok(()),
        Must::Vary => "nothing varies from call to call in",
    };
    let so = match option {
        "key" => {
            "all requests of a caller would be one and the same: name what identifies a request, as in `key = arg.request_id`, or write `key = args` for all arguments"
        }
        "sequence" => {
            "all requests would have one number: name the argument that counts up, as in `sequence = arg.number`"
        }
        "first_incomplete" => {
            "the client does not say it: name the argument that does, as in `first_incomplete = arg.first_incomplete`"
        }
        "created_at" => {
            "it is not the client's time: name the argument that is, as in `created_at = arg.created_at`"
        }
        "fingerprint" => {
            "any other request would pass for a retry: name the arguments that count, `fingerprint = (arg.to, arg.amount)`, or write `fingerprint = off` if that is meant"
        }
        "scope" => {
            "all callers would share their keys and get each other's replies: write `scope = caller`, or name the argument by which requests are kept apart, `scope = arg.account`, or write `scope = global` if that is meant"
        }
        _ => {
            "all requests would be in one lane, as they are without `lane`: leave it out, or name an argument, as in `lane = arg.lane`"
        }
    };
    Err(Error::new_spanned(
        value,
        format!("{because} `{option}`, so {so}"),
    ))
}

/// The expression inside quotes, if that is what was meant.
fn quoted(option: &str, value: &Expr, arguments: &BTreeSet<String>) -> Option<String> {
    let Expr::Lit(ExprLit {
        lit: Lit::Str(text),
        ..
    }) = value
    else {
        return None;
    };
    let value: Expr = text.parse().ok()?;
    let is_a_word = word(&value).is_some_and(|word| WORDS.contains(&(option, &word)));
    (is_a_word || !occurring(&value, arguments).is_empty()).then(|| text.value())
}

/// The arguments that occur in an expression.
pub(crate) fn occurring(value: &Expr, arguments: &BTreeSet<String>) -> BTreeSet<String> {
    let mut occurring = Occurring {
        arguments,
        found: BTreeSet::new(),
    };
    occurring.visit_expr(value);
    occurring.found
}

/// Refuses an expression that uses the steps of a durable method.
pub(crate) fn check_steps(
    (option, value, _): (&str, &Expr, Must),
    steps: &BTreeSet<String>,
) -> Result<(), Error> {
    let mut found = Named {
        names: steps,
        found: None,
    };
    found.visit_expr(value);
    match found.found {
        None => Ok(()),
        Some(name) => Err(Error::new(
            name.span(),
            format!(
                "`{name}` is no argument: no client sends it, and a retry has none when `{option}` is evaluated; use the arguments that follow it"
            ),
        )),
    }
}

/// Finds the first of some names. What macros do with their tokens can't be known, so the compiler says it there.
struct Named<'a> {
    names: &'a BTreeSet<String>,
    found: Option<Ident>,
}

impl<'ast> Visit<'ast> for Named<'_> {
    fn visit_expr_path(&mut self, path: &'ast syn::ExprPath) {
        let name = path.path.get_ident();
        let name = name.filter(|name| self.names.contains(&plain(name)));
        self.found = self.found.take().or_else(|| name.cloned());
    }
}

/// A name, with `r#` or without.
pub(crate) fn plain(name: &Ident) -> String {
    name.unraw().to_string()
}

struct Occurring<'a> {
    arguments: &'a BTreeSet<String>,
    found: BTreeSet<String>,
}

impl Occurring<'_> {
    fn name(&mut self, name: &Ident) {
        let name = plain(name);
        if self.arguments.contains(&name) {
            self.found.insert(name);
        }
    }
}

impl<'ast> Visit<'ast> for Occurring<'_> {
    fn visit_expr_path(&mut self, path: &'ast syn::ExprPath) {
        if let Some(name) = path.path.get_ident() {
            self.name(name);
        }
        syn::visit::visit_expr_path(self, path);
    }

    /// What macros do with their tokens can't be known. `format!("{id}")` names an argument inside a text.
    fn visit_token_stream(&mut self, tokens: &'ast TokenStream) {
        for token in tokens.clone() {
            match token {
                TokenTree::Ident(name) => self.name(&name),
                TokenTree::Group(group) => self.visit_token_stream(&group.stream()),
                TokenTree::Literal(text) => {
                    let named = captures(&text.to_string());
                    self.found.extend(
                        named
                            .into_iter()
                            .filter(|name| self.arguments.contains(name)),
                    );
                }
                TokenTree::Punct(_) => {}
            }
        }
    }
}

/// The names that a format string captures.
fn captures(text: &str) -> Vec<String> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    text.split('{')
        .skip(1)
        .map(|rest| rest.chars().take_while(|c| is_name(*c)).collect())
        .collect()
}

/// Whether an expression in which no argument occurs can differ from call to call: something that is not known calls
/// something that is not known. Paths lead to constants then.
fn varies(value: &Expr) -> bool {
    let any = |mut values: syn::punctuated::Iter<'_, Expr>| values.any(varies);
    match value {
        Expr::Lit(_) | Expr::Path(_) => false,
        Expr::Paren(value) => varies(&value.expr),
        Expr::Group(value) => varies(&value.expr),
        Expr::Reference(value) => varies(&value.expr),
        Expr::Unary(value) => varies(&value.expr),
        Expr::Cast(value) => varies(&value.expr),
        Expr::Field(value) => varies(&value.base),
        Expr::Repeat(value) => varies(&value.expr),
        Expr::Tuple(value) => any(value.elems.iter()),
        Expr::Array(value) => any(value.elems.iter()),
        Expr::Index(value) => varies(&value.expr) || varies(&value.index),
        Expr::Binary(value) => varies(&value.left) || varies(&value.right),
        Expr::Struct(value) => value.fields.iter().any(|field| varies(&field.expr)),
        Expr::Block(value) => match &*value.block.stmts {
            [Stmt::Expr(value, None)] => varies(value),
            _ => true,
        },
        Expr::Call(value) if converts(&value.func) => any(value.args.iter()),
        Expr::MethodCall(value) => {
            matches!(*value.receiver, Expr::Path(_))
                || varies(&value.receiver)
                || any(value.args.iter())
        }
        Expr::Macro(value) => value
            .mac
            .tokens
            .clone()
            .into_iter()
            .any(|token| match token {
                TokenTree::Literal(text) => captures(&text.to_string())
                    .iter()
                    .any(|name| !name.is_empty()),
                TokenTree::Punct(_) => false,
                TokenTree::Ident(_) | TokenTree::Group(_) => true,
            }),
        _ => true,
    }
}

/// Whether a function only puts its arguments into another form: `Some`, `String::from`.
fn converts(function: &Expr) -> bool {
    let Expr::Path(function) = function else {
        return false;
    };
    function.path.segments.last().is_some_and(|last| {
        let last = last.ident.to_string();
        last.starts_with(char::is_uppercase) || last.starts_with("from")
    })
}

/// The expression with its fields borrowed, alone or as parts of a tuple: arguments are references, of which no field can
/// be moved out.
pub(crate) fn by_reference(value: &Expr) -> Expr {
    let mut value = value.clone();
    borrow(&mut value);
    value
}

fn borrow(value: &mut Expr) {
    match value {
        Expr::Tuple(tuple) => tuple.elems.iter_mut().for_each(borrow),
        Expr::Paren(paren) => borrow(&mut paren.expr),
        Expr::Group(group) => borrow(&mut group.expr),
        // A name alone is an argument, and so a reference, or a constant.
        place if is_place(place) && !matches!(place, Expr::Path(_)) => {
            *place = syn::parse_quote!(&#place);
        }
        _ => {}
    }
}

fn is_place(value: &Expr) -> bool {
    match value {
        Expr::Path(_) => true,
        Expr::Field(field) => is_place(&field.base),
        Expr::Index(index) => is_place(&index.expr),
        Expr::Paren(paren) => is_place(&paren.expr),
        Expr::Group(group) => is_place(&group.expr),
        Expr::Unary(unary) => matches!(unary.op, syn::UnOp::Deref(_)) && is_place(&unary.expr),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quote::ToTokens;

    fn expr(text: &str) -> Expr {
        syn::parse_str(text).unwrap()
    }

    fn refused(option: &str, value: &str, must: Must) -> Option<String> {
        let arguments = ["arg", "id", "type"].map(String::from).into();
        let checked = check((option, &expr(value), must), &arguments);
        checked.err().map(|error| error.to_string())
    }

    #[test]
    fn keys_come_from_arguments() {
        for key in [
            "id",
            "arg.id",
            "(1, arg.id)",
            "key_of(&arg)",
            "format!(\"{id}\")",
            "format!(\"{}\", id)",
            "Id { id }",
            "{ let _ = arg; now() }",
            "r#type",
        ] {
            assert_eq!(refused("key", key, Must::ComeFromAnArgument), None, "{key}");
        }
        for key in [
            "1",
            "\"x\"",
            "ID",
            "(1, \"x\")",
            "compute()",
            "state().id",
            "state().arg()",
            "format!(\"id\")",
            "&[1, 2]",
            "{ 1 }",
        ] {
            let text = refused("key", key, Must::ComeFromAnArgument);
            assert!(
                text.is_some_and(|text| text.contains("`key = arg.request_id`")),
                "{key}"
            );
        }
    }

    #[test]
    fn scopes_vary() {
        for scope in [
            "arg.account",
            "current_account()",
            "account_of(\"main\")",
            "Some(current_account())",
            "STATE.with(room)",
            "&rooms()[0]",
            "room!(x)",
        ] {
            assert_eq!(refused("scope", scope, Must::Vary), None, "{scope}");
        }
        for scope in [
            "\"x\"",
            "1",
            "-1",
            "true",
            "(1, \"x\")",
            "[1, 2]",
            "[0; 4]",
            "&\"x\"",
            "(\"x\")",
            "{ \"x\" }",
            "1 + 2",
            "1 as u8",
            "ROOM",
            "config::ROOM.name",
            "\"x\".to_string()",
            "String::from(\"x\")",
            "Some(\"x\")",
            "Room { name: \"x\" }",
            "concat!(\"x\", \"y\")",
        ] {
            let text = refused("scope", scope, Must::Vary);
            assert!(
                text.is_some_and(|text| text.contains("`scope = caller`")),
                "{scope}"
            );
        }
    }

    #[test]
    fn quotes_are_taken_off() {
        for (option, value) in [
            ("scope", "caller"),
            ("scope", "global"),
            ("fingerprint", "args"),
            ("fingerprint", "off"),
            ("key", "args"),
            ("key", "arg.id"),
            ("key", "(arg.a, arg.b)"),
        ] {
            let text = refused(option, &format!("\"{value}\""), Must::ComeFromAnArgument);
            let instead = format!("write `{option} = {value}`, without quotes");
            assert!(text.is_some_and(|text| text.contains(&instead)), "{value}");
        }
    }

    #[test]
    fn fields_are_borrowed() {
        for (written, borrowed) in [
            ("id", "id"),
            ("arg.to", "&arg.to"),
            ("*id", "&*id"),
            (
                "(arg.to, arg.list[0].1, id)",
                "(&arg.to, &arg.list[0].1, id)",
            ),
            ("((arg.a, (arg.b)), 1)", "((&arg.a, (&arg.b)), 1)"),
            ("(arg.to.clone(), f(arg.a))", "(arg.to.clone(), f(arg.a))"),
            ("[arg.a, arg.b]", "[arg.a, arg.b]"),
        ] {
            let by_reference = by_reference(&expr(written)).to_token_stream().to_string();
            assert_eq!(by_reference, expr(borrowed).to_token_stream().to_string());
        }
    }
}
