//! The options of `#[idempotent(…)]`.

use darling::{
    FromMeta,
    ast::NestedMeta,
    util::{Flag, PreservedStrExpr},
};
use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{Expr, Path, spanned::Spanned};

#[derive(FromMeta)]
pub(crate) struct Options {
    pub(crate) store: Path,
    pub(crate) key: Key,
    pub(crate) created_at: Option<PreservedStrExpr>,
    #[darling(default)]
    pub(crate) scope: Scope,
    pub(crate) name: Option<String>,
    #[darling(default)]
    pub(crate) fingerprint: Fingerprint,
    pub(crate) errors: Option<Errors>,
    pub(crate) on_replay: Option<Path>,
    pub(crate) required: Flag,
    pub(crate) anonymous: Flag,
}

pub(crate) enum Key {
    Args,
    Expression(Box<Expr>),
}

#[derive(Default)]
pub(crate) enum Scope {
    #[default]
    Caller,
    Global,
    Expression(Box<Expr>),
}

#[derive(Default)]
pub(crate) enum Fingerprint {
    #[default]
    Args,
    Off,
    Expression(Box<Expr>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Errors {
    Keep,
    Forget,
}

impl Options {
    pub(crate) fn parse(options: TokenStream) -> Result<Self, syn::Error> {
        let span = options.span();
        let options = NestedMeta::parse_meta_list(options).map_err(|error| {
            syn::Error::new(
                error.span(),
                format!("{error}; options are `name = value` or a word, separated by commas"),
            )
        })?;
        Self::from_list(&options).map_err(|error| combine(error.flatten(), span))
    }

    /// The expressions in which arguments can occur.
    pub(crate) fn expressions(&self) -> TokenStream {
        let mut expressions = TokenStream::new();
        if let Key::Expression(key) = &self.key {
            key.to_tokens(&mut expressions);
        }
        if let Scope::Expression(scope) = &self.scope {
            scope.to_tokens(&mut expressions);
        }
        if let Fingerprint::Expression(fingerprint) = &self.fingerprint {
            fingerprint.to_tokens(&mut expressions);
        }
        self.created_at.to_tokens(&mut expressions);
        expressions
    }
}

/// Darling's errors speak of fields; ours of options, and of what to write.
fn combine(errors: darling::Error, all: proc_macro2::Span) -> syn::Error {
    let mut errors = errors.into_iter().map(|error| {
        let text = match error.to_string() {
            text if text.starts_with("Missing field `store`") => {
                "`store` is missing: name the thread-local `Store`, as in `#[idempotent(store = PAYMENTS, key = …)]`".into()
            }
            text if text.starts_with("Missing field `key`") => {
                "`key` is missing: say what identifies a request, as in `key = arg.request_id`, or `key = args` for all arguments".into()
            }
            text if text.starts_with("Duplicate field") => {
                format!("{}: an option, and so the key, can be given once; several fields make one key as a tuple, `key = (arg.a, arg.b)`", text.replace("field", "option"))
            }
            text if text.starts_with("Unknown field") => {
                format!(
                    "{}; the options are store, key, created_at, scope, name, fingerprint, errors, on_replay, required and anonymous",
                    text.replace("field", "option")
                )
            }
            text => without_location(&text).to_string(),
        };
        let span = if error.has_span() { error.span() } else { all };
        syn::Error::new(span, text)
    });
    let Some(mut first) = errors.next() else {
        return syn::Error::new(all, "invalid options");
    };
    errors.for_each(|error| first.combine(error));
    first
}

/// Darling appends " at option", which the span says better.
fn without_location(text: &str) -> &str {
    match text.rsplit_once(" at ") {
        Some((text, option)) if syn::parse_str::<syn::Ident>(option).is_ok() => text,
        _ => text,
    }
}

fn word(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Path(path) => path.path.get_ident().map(ToString::to_string),
        _ => None,
    }
}

impl FromMeta for Key {
    fn from_expr(expr: &Expr) -> darling::Result<Self> {
        Ok(if word(expr).as_deref() == Some("args") {
            Self::Args
        } else {
            Self::Expression(Box::new(expr.clone()))
        })
    }
}

impl FromMeta for Scope {
    fn from_expr(expr: &Expr) -> darling::Result<Self> {
        Ok(match word(expr).as_deref() {
            Some("caller") => Self::Caller,
            Some("global") => Self::Global,
            _ => Self::Expression(Box::new(expr.clone())),
        })
    }
}

impl FromMeta for Fingerprint {
    fn from_expr(expr: &Expr) -> darling::Result<Self> {
        Ok(match word(expr).as_deref() {
            Some("args") => Self::Args,
            Some("off") => Self::Off,
            _ => Self::Expression(Box::new(expr.clone())),
        })
    }
}

impl FromMeta for Errors {
    fn from_expr(expr: &Expr) -> darling::Result<Self> {
        match word(expr).as_deref() {
            Some("keep") => Ok(Self::Keep),
            Some("forget") => Ok(Self::Forget),
            _ => Err(darling::Error::custom("`errors` is `keep` or `forget`").with_span(expr)),
        }
    }
}
