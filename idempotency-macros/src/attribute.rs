//! The options of `#[idempotent(…)]`.

use crate::expression::Must;
use proc_macro2::{Ident, Span, TokenStream};
use std::collections::BTreeMap;
use syn::{
    Error, Expr, ExprLit, Lit, Path, Token,
    ext::IdentExt as _,
    parse::{Parse, ParseStream, Parser},
    punctuated::Punctuated,
    spanned::Spanned,
};

/// Most numbers of a lane in flight; `idempotency-core` checks the constants that can't be seen here.
const MOST_IN_FLIGHT: u64 = 1_024;

/// Words that have a meaning of their own.
pub(crate) const WORDS: [(&str, &str); 6] = [
    ("key", "args"),
    ("created_at", "key"),
    ("scope", "caller"),
    ("scope", "global"),
    ("fingerprint", "args"),
    ("fingerprint", "off"),
];

pub(crate) struct Options {
    /// The path by which the user's crate knows `idempotency-core`.
    pub(crate) core: Path,
    pub(crate) store: Path,
    /// Options whose value is a word that means no argument.
    pub(crate) words: Vec<(&'static str, &'static str)>,
    pub(crate) key: Option<Key>,
    pub(crate) sequence: Option<Expr>,
    pub(crate) lane: Option<Expr>,
    pub(crate) max_in_flight: Option<Expr>,
    pub(crate) first_incomplete: Option<Expr>,
    pub(crate) cycles: Option<Expr>,
    pub(crate) created_at: Option<CreatedAt>,
    pub(crate) scope: Scope,
    pub(crate) name: Option<String>,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) errors: Option<Errors>,
    pub(crate) on_replay: Option<Expr>,
    pub(crate) on_unknown: Option<Expr>,
    pub(crate) has_alias: bool,
    pub(crate) durable: bool,
    pub(crate) required: bool,
    pub(crate) anonymous: bool,
}

pub(crate) enum Key {
    Args,
    Expression(Box<Expr>),
}

pub(crate) enum CreatedAt {
    Key,
    Expression(Box<Expr>),
}

pub(crate) enum Scope {
    Caller,
    Global,
    Expression(Box<Expr>),
}

pub(crate) enum Fingerprint {
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
    pub(crate) fn parse(options: TokenStream) -> Result<Self, Error> {
        let span = options.span();
        let mut given = Given::parse(options)?;
        let core = given.path("crate", "`crate` is the path of `idempotency_core`, as in `crate = crate::deps::idempotency_core`")?;
        let store = given.path(
            "store",
            "`store` is the path of a thread-local `Store`, as in `store = PAYMENTS`",
        )?;
        let options = Self {
            words: given.words(),
            core: core.unwrap_or_else(|| syn::parse_quote!(::idempotency_core)),
            store: store.ok_or_else(|| {
                Error::new(span, "`store` is missing: name the thread-local `Store`, as in `#[idempotent(store = PAYMENTS, key = …)]`")
            })?,
            key: given.value("key")?.map(|key| match word(&key).as_deref() {
                Some("args") => Key::Args,
                _ => Key::Expression(Box::new(key)),
            }),
            sequence: given.value("sequence")?,
            lane: given.value("lane")?,
            max_in_flight: given.value("max_in_flight")?,
            first_incomplete: given.value("first_incomplete")?,
            cycles: given.value("cycles")?,
            created_at: given.value("created_at")?.map(|created_at| {
                match word(&created_at).as_deref() {
                    Some("key") => CreatedAt::Key,
                    _ => CreatedAt::Expression(Box::new(created_at)),
                }
            }),
            scope: match given.value("scope")? {
                None => Scope::Caller,
                Some(scope) => match word(&scope).as_deref() {
                    Some("caller") => Scope::Caller,
                    Some("global") => Scope::Global,
                    _ => Scope::Expression(Box::new(scope)),
                },
            },
            name: given.value("name")?.map(name).transpose()?,
            fingerprint: match given.value("fingerprint")? {
                None => Fingerprint::Args,
                Some(fingerprint) => match word(&fingerprint).as_deref() {
                    Some("args") => Fingerprint::Args,
                    Some("off") => Fingerprint::Off,
                    _ => Fingerprint::Expression(Box::new(fingerprint)),
                },
            },
            errors: given.value("errors")?.map(errors).transpose()?,
            on_replay: given.value("on_replay")?.map(on_replay).transpose()?,
            on_unknown: given.value("on_unknown")?.map(on_unknown).transpose()?,
            has_alias: given.value("alias")?.map_or(Ok(true), no_alias)?,
            durable: given.flag("durable")?,
            required: given.flag("required")?,
            anonymous: given.flag("anonymous")?,
        };
        options.identify(span)?;
        options.check_created_at(span)?;
        options.check_numbers()?;
        Ok(options)
    }

    /// Whether the key is this name alone.
    pub(crate) fn key_is(&self, name: &str) -> bool {
        matches!(&self.key, Some(Key::Expression(key)) if word(key).as_deref() == Some(name))
    }

    /// Whether there is one way by which a request is identified, and nothing that belongs to the other.
    fn identify(&self, span: Span) -> Result<(), Error> {
        let text = match (&self.key, &self.sequence) {
            (None, None) => {
                "`key` is missing: say what identifies a request, as in `key = arg.request_id`, `key = args` for all arguments, or `sequence = arg.number` for numbers that count up"
            }
            (Some(_), Some(_)) => {
                "`key` and `sequence` are two ways to identify a request: use one of them"
            }
            (None, Some(_)) => return Ok(()),
            (Some(_), None) => {
                let of_sequence = [&self.lane, &self.max_in_flight, &self.first_incomplete];
                return match of_sequence.into_iter().flatten().next() {
                    None => Ok(()),
                    Some(option) => Err(Error::new_spanned(
                        option,
                        "`lane`, `max_in_flight` and `first_incomplete` say more of a `sequence`, and there is none",
                    )),
                };
            }
        };
        Err(Error::new(span, text))
    }

    /// Whether a time that is in the key has a key to be in.
    fn check_created_at(&self, span: Span) -> Result<(), Error> {
        match (&self.created_at, &self.key) {
            (Some(CreatedAt::Key), Some(Key::Args) | None) => Err(Error::new(
                span,
                "`created_at = key` is the time in a key that the client makes, a UUIDv7 or a ULID: name that key, as in `key = arg.request_id`, or name the time, as in `created_at = arg.created_at`",
            )),
            _ => Ok(()),
        }
    }

    /// Literals are refused here, where the error can say so; what a constant holds shows when it is evaluated.
    fn check_numbers(&self) -> Result<(), Error> {
        if let Some(Expr::Lit(max_in_flight)) = &self.max_in_flight {
            let numbers = match &max_in_flight.lit {
                Lit::Int(max_in_flight) => max_in_flight.base10_parse::<u64>().ok(),
                _ => None,
            };
            if numbers.is_none_or(|numbers| !(1..=MOST_IN_FLIGHT).contains(&numbers)) {
                return Err(Error::new_spanned(
                    max_in_flight,
                    "`max_in_flight` is how many numbers of a sequence may be under way at a time, from 1 (strict) to 1,024, as in `max_in_flight = 64`",
                ));
            }
        }
        match &self.cycles {
            Some(Expr::Lit(cycles)) if !matches!(cycles.lit, Lit::Int(_)) => {
                Err(Error::new_spanned(
                    cycles,
                    "`cycles` is the number of cycles that a new request costs, as in `cycles = 1_000_000`",
                ))
            }
            _ => Ok(()),
        }
    }

    /// The options whose values are expressions of the arguments, and what those must be.
    pub(crate) fn expressions(&self) -> Vec<(&'static str, &Expr, Must)> {
        let key = match &self.key {
            Some(Key::Expression(key)) => Some(&**key),
            Some(Key::Args) | None => None,
        };
        let scope = match &self.scope {
            Scope::Expression(scope) => Some(&**scope),
            Scope::Caller | Scope::Global => None,
        };
        let fingerprint = match &self.fingerprint {
            Fingerprint::Expression(fingerprint) => Some(&**fingerprint),
            Fingerprint::Args | Fingerprint::Off => None,
        };
        let created_at = match &self.created_at {
            Some(CreatedAt::Expression(created_at)) => Some(&**created_at),
            Some(CreatedAt::Key) | None => None,
        };
        let expressions = [
            ("key", key, Must::ComeFromAnArgument),
            ("sequence", self.sequence.as_ref(), Must::ComeFromAnArgument),
            (
                "first_incomplete",
                self.first_incomplete.as_ref(),
                Must::ComeFromAnArgument,
            ),
            ("created_at", created_at, Must::ComeFromAnArgument),
            ("fingerprint", fingerprint, Must::ComeFromAnArgument),
            ("scope", scope, Must::Vary),
            ("lane", self.lane.as_ref(), Must::Vary),
        ];
        expressions
            .into_iter()
            .filter_map(|(option, value, must)| Some((option, value?, must)))
            .collect()
    }
}

/// One option as written: `name = value`, or a word.
struct Setting {
    name: Ident,
    value: Option<Expr>,
}

impl Parse for Setting {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        // `crate` is a keyword.
        let name = input.call(Ident::parse_any)?;
        let value = match input.parse::<Option<Token![=]>>()? {
            Some(_) => Some(input.parse()?),
            None => None,
        };
        Ok(Self { name, value })
    }
}

/// The options that were given and not read yet.
struct Given(BTreeMap<String, Setting>);

impl Given {
    fn parse(options: TokenStream) -> Result<Self, Error> {
        let settings = Punctuated::<Setting, Token![,]>::parse_terminated
            .parse2(options)
            .map_err(|error| {
                Error::new(
                    error.span(),
                    format!("{error}; options are `name = value` or a word, separated by commas"),
                )
            })?;
        let known = [
            "store",
            "key",
            "sequence",
            "lane",
            "max_in_flight",
            "first_incomplete",
            "created_at",
            "scope",
            "name",
            "fingerprint",
            "errors",
            "on_replay",
            "on_unknown",
            "alias",
            "durable",
            "cycles",
            "required",
            "anonymous",
            "crate",
        ];
        let mut given = BTreeMap::new();
        for setting in settings {
            let (name, span) = (setting.name.to_string(), setting.name.span());
            if !known.contains(&name.as_str()) {
                let known = known.join(", ");
                return Err(Error::new(
                    span,
                    format!("there is no option `{name}`; the options are {known}"),
                ));
            }
            if given.insert(name.clone(), setting).is_some() {
                return Err(Error::new(
                    span,
                    match name.as_str() {
                        "key" => "`key` is given twice: several fields make one key as a tuple, `key = (arg.a, arg.b)`".into(),
                        _ => format!("`{name}` is given twice: an option can be given once"),
                    },
                ));
            }
        }
        Ok(Self(given))
    }

    fn value(&mut self, name: &str) -> Result<Option<Expr>, Error> {
        let Some(setting) = self.0.remove(name) else {
            return Ok(None);
        };
        match setting.value {
            Some(value) => Ok(Some(value)),
            None => Err(Error::new(
                setting.name.span(),
                format!("`{name}` needs a value: write `{name} = …`"),
            )),
        }
    }

    fn words(&self) -> Vec<(&'static str, &'static str)> {
        let is_given = |(option, meaning): &(&str, &str)| {
            let value = (self.0.get(*option)).and_then(|setting| setting.value.as_ref());
            value.and_then(word).as_deref() == Some(meaning)
        };
        WORDS.into_iter().filter(is_given).collect()
    }

    fn flag(&mut self, name: &str) -> Result<bool, Error> {
        match self.0.remove(name) {
            None => Ok(false),
            Some(Setting { value: None, .. }) => Ok(true),
            Some(Setting {
                value: Some(value), ..
            }) => Err(Error::new_spanned(
                value,
                format!("`{name}` takes no value: write `{name}` alone, or leave it out"),
            )),
        }
    }

    fn path(&mut self, name: &str, text: &str) -> Result<Option<Path>, Error> {
        match self.value(name)? {
            None => Ok(None),
            Some(Expr::Path(path)) if path.qself.is_none() => Ok(Some(path.path)),
            Some(other) => Err(Error::new_spanned(other, text)),
        }
    }
}

/// An expression that is one name.
pub(crate) fn word(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Path(path) => path.path.get_ident().map(ToString::to_string),
        _ => None,
    }
}

fn name(value: Expr) -> Result<String, Error> {
    if let Expr::Lit(ExprLit {
        lit: Lit::Str(name),
        ..
    }) = &value
        && !name.value().trim().is_empty()
    {
        return Ok(name.value());
    }
    Err(Error::new_spanned(
        value,
        "`name` is the endpoint's name in the identity, a text that is not empty, as in `name = \"pay\"`",
    ))
}

fn errors(value: Expr) -> Result<Errors, Error> {
    match word(&value).as_deref() {
        Some("keep") => Ok(Errors::Keep),
        Some("forget") => Ok(Errors::Forget),
        _ => Err(Error::new_spanned(value, "`errors` is `keep` or `forget`")),
    }
}

/// The value of `alias`, of which there is one.
fn no_alias(value: Expr) -> Result<bool, Error> {
    match word(&value).as_deref() {
        Some("off") => Ok(false),
        _ => Err(Error::new_spanned(
            value,
            "`alias` is `off`, or left out: then a retry is recognised before its arguments are decoded",
        )),
    }
}

fn on_replay(value: Expr) -> Result<Expr, Error> {
    match ungrouped(value) {
        value @ Expr::Path(_) => Ok(value),
        Expr::Closure(closure) if closure.asyncness.is_none() => Ok(Expr::Closure(closure)),
        value => Err(Error::new_spanned(
            value,
            "`on_replay` is a function that maps the first reply, or a closure: `on_replay = again`, `on_replay = |reply| …`",
        )),
    }
}

fn on_unknown(value: Expr) -> Result<Expr, Error> {
    match ungrouped(value) {
        value @ (Expr::Path(_) | Expr::Closure(_)) => Ok(value),
        value => Err(Error::new_spanned(
            value,
            "`on_unknown` is a function, or a closure, that takes the arguments and an `Unknown` and returns a `Resolution`: `on_unknown = look_up`",
        )),
    }
}

/// An expression that a macro of the user's passes on.
fn ungrouped(mut value: Expr) -> Expr {
    while let Expr::Group(group) = value {
        value = *group.expr;
    }
    value
}
