//! The options of `#[idempotent(…)]`.

use darling::{
    FromMeta,
    ast::NestedMeta,
    util::{Flag, PreservedStrExpr},
};
use proc_macro2::{Span, TokenStream};
use quote::ToTokens;
use syn::{Expr, Path, spanned::Spanned};

#[derive(FromMeta)]
pub(crate) struct Options {
    pub(crate) store: Path,
    pub(crate) key: Option<Key>,
    pub(crate) sequence: Option<PreservedStrExpr>,
    pub(crate) lane: Option<PreservedStrExpr>,
    pub(crate) window: Option<PreservedStrExpr>,
    pub(crate) acked: Option<PreservedStrExpr>,
    pub(crate) cycles: Option<PreservedStrExpr>,
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
        let options: Self =
            Self::from_list(&options).map_err(|error| combine(error.flatten(), span))?;
        options.identify(span)?;
        Ok(options)
    }

    /// Whether there is one way by which a request is identified, and nothing that belongs to the other.
    fn identify(&self, span: Span) -> Result<(), syn::Error> {
        let text = match (&self.key, &self.sequence) {
            (None, None) => {
                "`key` is missing: say what identifies a request, as in `key = arg.request_id`, `key = args` for all arguments, or `sequence = arg.number` for numbers that count up"
            }
            (Some(_), Some(_)) => {
                "`key` and `sequence` are two ways to identify a request: use one of them"
            }
            (None, Some(_)) => return Ok(()),
            (Some(_), None) => {
                let of_sequence = [&self.lane, &self.window, &self.acked];
                return match of_sequence.into_iter().flatten().next() {
                    None => Ok(()),
                    Some(option) => Err(syn::Error::new_spanned(
                        option,
                        "`lane`, `window` and `acked` say more of a `sequence`, and there is none",
                    )),
                };
            }
        };
        Err(syn::Error::new(span, text))
    }

    /// The expressions in which arguments can occur.
    pub(crate) fn expressions(&self) -> TokenStream {
        let mut expressions = TokenStream::new();
        if let Some(Key::Expression(key)) = &self.key {
            key.to_tokens(&mut expressions);
        }
        if let Scope::Expression(scope) = &self.scope {
            scope.to_tokens(&mut expressions);
        }
        if let Fingerprint::Expression(fingerprint) = &self.fingerprint {
            fingerprint.to_tokens(&mut expressions);
        }
        for expression in [&self.created_at, &self.sequence, &self.lane, &self.acked] {
            expression.to_tokens(&mut expressions);
        }
        expressions
    }
}

/// Darling's errors speak of fields; ours of options, and of what to write.
fn combine(errors: darling::Error, all: Span) -> syn::Error {
    let mut errors = errors.into_iter().map(|error| {
        let text = match error.to_string() {
            text if text.starts_with("Missing field `store`") => {
                "`store` is missing: name the thread-local `Store`, as in `#[idempotent(store = PAYMENTS, key = …)]`".into()
            }
            text if text.starts_with("Duplicate field") => {
                format!("{}: an option, and so the key, can be given once; several fields make one key as a tuple, `key = (arg.a, arg.b)`", text.replace("field", "option"))
            }
            text if text.starts_with("Unknown field") => {
                format!(
                    "{}; the options are store, key, sequence, lane, window, acked, created_at, scope, name, fingerprint, errors, on_replay, cycles, required and anonymous",
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
