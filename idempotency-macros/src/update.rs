//! The `#[update(…)]` below the attribute, and what must not stand beside it.

use quote::ToTokens;
use syn::{
    Attribute, Error, Expr, ExprLit, ItemFn, Lit, Meta, Path, Token, parse::Parser,
    punctuated::Punctuated, spanned::Spanned,
};

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

/// The last name of a path: attributes are known by it, however they are imported.
pub(crate) fn last(path: &Path) -> String {
    path.segments
        .last()
        .map_or_else(String::new, |last| last.ident.to_string())
}

/// Attributes that export a function, or describe it as exported.
const EXPORTS: [&str; 12] = [
    "update",
    "query",
    "init",
    "post_upgrade",
    "pre_upgrade",
    "inspect_message",
    "heartbeat",
    "on_low_wasm_memory",
    "candid_method",
    "export_name",
    "no_mangle",
    "idempotent",
];

/// The name by which an attribute exports the function, also as `cfg_attr(…, name)` and `unsafe(name)`.
fn export(meta: &Meta) -> Option<String> {
    let name = last(meta.path());
    if EXPORTS.contains(&name.as_str()) {
        return Some(name);
    }
    let Meta::List(list) = meta else {
        return None;
    };
    if name != "cfg_attr" && name != "unsafe" {
        return None;
    }
    let skipped = usize::from(name == "cfg_attr");
    let metas = Punctuated::<Meta, Token![,]>::parse_terminated.parse2(list.tokens.clone());
    metas.ok()?.iter().skip(skipped).find_map(export)
}

/// Whether an attribute exports the function.
pub(crate) fn exports(attribute: &Attribute) -> bool {
    export(&attribute.meta).is_some()
}

/// Takes the `#[update]` off the function, to which nothing else may lead.
pub(crate) fn take_update(function: &mut ItemFn) -> Result<Update, Error> {
    let is_update = |attribute: &Attribute| last(attribute.path()) == "update";
    let update = function.attrs.iter().position(is_update);
    let update = update.map(|position| function.attrs.remove(position));
    let other = (function.attrs.iter())
        .find_map(|attribute| Some((attribute.span(), export(&attribute.meta)?)));
    let attribute = match (update, other) {
        (Some(update), None) => update,
        (update, Some((span, other)))
            if update.is_some() || matches!(&*other, "query" | "update") =>
        {
            return Err(Error::new(span, refusal(&other)));
        }
        _ => {
            return Err(Error::new(
                function.sig.ident.span(),
                "`#[idempotent]` must stand above `#[update]`: write\n#[idempotent(…)]\n#[ic_cdk::update]\nfn …",
            ));
        }
    };
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

/// Why an attribute can't stand beside `#[idempotent]`.
fn refusal(export: &str) -> String {
    match export {
        "query" => "a query changes nothing, so there is nothing to deduplicate: remove `#[idempotent]`, or make it an `#[update]`".into(),
        "idempotent" => "`#[idempotent]` is given twice: one attribute says all, remove the other".into(),
        "candid_method" => "`#[idempotent]` describes the interface itself: remove `#[candid_method]`".into(),
        "update" => "`#[idempotent]` takes one `#[update]`, which stands below it and in no `cfg_attr`: another would export the function without protection; for another name write another function".into(),
        _ => format!("`{export}` would export the function past `#[idempotent]`, without protection: leave only `#[update]`, and write another function for `{export}`"),
    }
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
