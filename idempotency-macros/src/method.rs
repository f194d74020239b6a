//! The function below the attribute, and its `#[update(…)]`.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use std::collections::BTreeSet;
use syn::{
    Attribute, Error, Expr, ExprLit, FnArg, Ident, ItemFn, Lit, Meta, Pat, Path, ReturnType, Token,
    Type, parse::Parser, punctuated::Punctuated, spanned::Spanned, visit::Visit,
    visit_mut::VisitMut,
};

pub(crate) struct Method {
    /// The function without its `#[update]`.
    pub(crate) function: ItemFn,
    pub(crate) update: Update,
    /// Argument patterns as they can stand in a pattern over references.
    pub(crate) patterns: Vec<Pat>,
    pub(crate) types: Vec<Type>,
}

pub(crate) struct Update {
    /// `ic_cdk::update`, as the user wrote it.
    pub(crate) path: Path,
    /// Options that the attribute does not take over.
    pub(crate) passed_on: Vec<Meta>,
    pub(crate) name: Option<String>,
    pub(crate) decode_with: Option<Path>,
    pub(crate) encode_with: Option<Path>,
    pub(crate) hidden: bool,
}

impl Method {
    pub(crate) fn parse(mut function: ItemFn) -> Result<Self, Error> {
        let update = take_update(&mut function)?;
        let signature = &function.sig;
        if !signature.generics.params.is_empty() {
            return Err(Error::new(
                signature.generics.span(),
                "an exported method can't be generic: write the types out",
            ));
        }
        let (mut patterns, mut types) = (Vec::new(), Vec::new());
        for argument in &signature.inputs {
            let FnArg::Typed(argument) = argument else {
                return Err(Error::new(
                    argument.span(),
                    "an exported method has no `self`: write a free function that calls the method",
                ));
            };
            if matches!(*argument.ty, Type::Reference(_)) {
                return Err(Error::new(
                    argument.ty.span(),
                    "an argument must own its data: take `String` for `&str`, `Vec<u8>` for `&[u8]`",
                ));
            }
            if matches!(*argument.ty, Type::ImplTrait(_)) {
                return Err(Error::new(
                    argument.ty.span(),
                    "an exported method can't be generic: write the type out",
                ));
            }
            let mut pattern = (*argument.pat).clone();
            OverReferences.visit_pat_mut(&mut pattern);
            patterns.push(pattern);
            types.push((*argument.ty).clone());
        }
        Ok(Self {
            function,
            update,
            patterns,
            types,
        })
    }

    pub(crate) fn is_async(&self) -> bool {
        self.function.sig.asyncness.is_some()
    }

    /// An argument that only the attribute uses is used all the same: no lint should ask to rename it.
    pub(crate) fn mark_used(&mut self, expressions: &TokenStream) {
        let used = identifiers(expressions.clone());
        let mut bound = Bound(Vec::new());
        self.patterns
            .iter()
            .for_each(|pattern| bound.visit_pat(pattern));
        let marked = bound
            .0
            .into_iter()
            .filter(|argument| used.contains(&argument.to_string()));
        let block = &mut self.function.block;
        let statements = marked.map(|argument| syn::parse_quote!(let _ = &#argument;));
        block.stmts.splice(0..0, statements);
    }

    /// The name that clients call.
    pub(crate) fn exported_name(&self) -> String {
        self.update
            .name
            .clone()
            .unwrap_or_else(|| self.function.sig.ident.to_string())
    }

    pub(crate) fn has_argument(&self, name: &str) -> bool {
        self.patterns
            .iter()
            .any(|pattern| matches!(pattern, Pat::Ident(argument) if argument.ident == name))
    }

    pub(crate) fn return_type(&self) -> Type {
        match &self.function.sig.output {
            ReturnType::Default => syn::parse_quote!(()),
            ReturnType::Type(_, ty) => (**ty).clone(),
        }
    }

    /// How many candid values the reply has. As in ic-cdk the type as written decides: a tuple is a sequence of values.
    pub(crate) fn reply_values(&self) -> usize {
        match &self.function.sig.output {
            ReturnType::Default => 0,
            ReturnType::Type(_, ty) => match &**ty {
                Type::Tuple(tuple) => tuple.elems.len(),
                _ => 1,
            },
        }
    }

    /// Attributes that the generated items share with the function: conditions and docs.
    pub(crate) fn attributes(&self, name: &str) -> Vec<&Attribute> {
        self.function
            .attrs
            .iter()
            .filter(|attribute| attribute.path().is_ident(name))
            .collect()
    }
}

/// Arguments are seen as references, so a `mut` or `ref` in a pattern has no place.
struct OverReferences;

impl VisitMut for OverReferences {
    fn visit_pat_ident_mut(&mut self, pattern: &mut syn::PatIdent) {
        pattern.mutability = None;
        pattern.by_ref = None;
        syn::visit_mut::visit_pat_ident_mut(self, pattern);
    }
}

/// The names that patterns bind.
struct Bound(Vec<Ident>);

impl<'ast> Visit<'ast> for Bound {
    fn visit_pat_ident(&mut self, pattern: &'ast syn::PatIdent) {
        self.0.push(pattern.ident.clone());
        syn::visit::visit_pat_ident(self, pattern);
    }
}

fn identifiers(tokens: TokenStream) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => {
                found.insert(ident.to_string());
            }
            TokenTree::Group(group) => found.extend(identifiers(group.stream())),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
    found
}

/// Whether an attribute is ic-cdk's `name`, by whatever path.
fn is(attribute: &Attribute, name: &str) -> bool {
    attribute
        .path()
        .segments
        .last()
        .is_some_and(|last| last.ident == name)
}

/// Whether an attribute makes ic-cdk export the function.
pub(crate) fn exports(attribute: &Attribute) -> bool {
    [
        "update",
        "query",
        "init",
        "post_upgrade",
        "pre_upgrade",
        "inspect_message",
        "heartbeat",
    ]
    .iter()
    .any(|name| is(attribute, name))
}

fn take_update(function: &mut ItemFn) -> Result<Update, Error> {
    if let Some(query) = function
        .attrs
        .iter()
        .find(|attribute| is(attribute, "query"))
    {
        return Err(Error::new(
            query.span(),
            "a query changes nothing, so there is nothing to deduplicate: remove `#[idempotent]`, or make it an `#[update]`",
        ));
    }
    let Some(position) = function
        .attrs
        .iter()
        .position(|attribute| is(attribute, "update"))
    else {
        return Err(Error::new(
            function.sig.ident.span(),
            "`#[idempotent]` must stand above `#[update]`: write\n#[idempotent(…)]\n#[ic_cdk::update]\nfn …",
        ));
    };
    let attribute = function.attrs.remove(position);
    let metas = match &attribute.meta {
        Meta::Path(_) => Punctuated::new(),
        Meta::List(list) => {
            Punctuated::<Meta, Token![,]>::parse_terminated.parse2(list.tokens.clone())?
        }
        Meta::NameValue(_) => {
            return Err(Error::new(
                attribute.span(),
                "expected `#[update]` or `#[update(…)]`",
            ));
        }
    };
    let mut update = Update {
        path: attribute.path().clone(),
        passed_on: Vec::new(),
        name: None,
        decode_with: None,
        encode_with: None,
        hidden: false,
    };
    for meta in metas {
        let option = meta
            .path()
            .get_ident()
            .map(ToString::to_string)
            .unwrap_or_default();
        match option.as_str() {
            "name" => update.name = Some(text(&meta)?),
            "decode_with" => update.decode_with = Some(path(&meta)?),
            "encode_with" => update.encode_with = Some(path(&meta)?),
            "hidden" => update.hidden = flag(&meta)?,
            "manual_reply" if flag(&meta)? => {
                return Err(Error::new(
                    meta.span(),
                    "with `#[idempotent]` the reply is sent for you: return it and remove `manual_reply`",
                ));
            }
            "manual_reply" => {}
            _ => update.passed_on.push(meta),
        }
    }
    Ok(update)
}

/// The value of a `name = value` whose value is a literal.
fn literal(meta: &Meta) -> Option<&Lit> {
    match meta {
        Meta::NameValue(meta) => match &meta.value {
            Expr::Lit(ExprLit { lit, .. }) => Some(lit),
            _ => None,
        },
        _ => None,
    }
}

fn text(meta: &Meta) -> Result<String, Error> {
    match literal(meta) {
        Some(Lit::Str(text)) => Ok(text.value()),
        _ => Err(Error::new(
            meta.span(),
            format!("expected `{} = \"…\"`", meta.path().to_token_stream()),
        )),
    }
}

fn path(meta: &Meta) -> Result<Path, Error> {
    match literal(meta) {
        Some(Lit::Str(text)) => text.parse(),
        _ => Err(Error::new(
            meta.span(),
            format!("expected `{} = \"…\"`", meta.path().to_token_stream()),
        )),
    }
}

fn flag(meta: &Meta) -> Result<bool, Error> {
    match (meta, literal(meta)) {
        (Meta::Path(_), _) => Ok(true),
        (_, Some(Lit::Bool(flag))) => Ok(flag.value),
        _ => Err(Error::new(
            meta.span(),
            format!("expected `{} = true`", meta.path().to_token_stream()),
        )),
    }
}
