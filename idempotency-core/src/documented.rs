//! Docs of types that stand in candid.

/// A type with docs, but for those that candid would put into each canister's module: for [`IdempotencyError`](crate::IdempotencyError) code
/// that takes 7 KB when gzipped. It also runs whenever candid works out the type, for each reply that it encodes: some 400 instructions a line.
/// An interface that is exported natively, in a test, has them.
macro_rules! documented_natively {
    (
        $(#[doc = $doc:tt])*
        #[derive($($derived:ident),*)]
        $(#[$attribute:ident])?
        pub enum $name:ident {
            $($(#[doc = $case_doc:tt])* $case:ident $({
                $($(#[doc = $field_doc:tt])* $field:ident: $type:ty,)*
            })?,)*
        }
    ) => {
        $(#[cfg_attr(any(doc, not(target_family = "wasm")), doc = $doc)])*
        #[cfg_attr(target_family = "wasm", allow(missing_docs))]
        #[derive($($derived),*)]
        $(#[$attribute])?
        pub enum $name {
            $(
                $(#[cfg_attr(any(doc, not(target_family = "wasm")), doc = $case_doc)])*
                $case $({
                    $(
                        $(#[cfg_attr(any(doc, not(target_family = "wasm")), doc = $field_doc)])*
                        $field: $type,
                    )*
                })?,
            )*
        }
    };
    (
        $(#[doc = $doc:tt])*
        #[derive($($derived:ident),*)]
        pub struct $name:ident {
            $($(#[doc = $field_doc:tt])* pub $field:ident: $type:ty,)*
        }
    ) => {
        $(#[cfg_attr(any(doc, not(target_family = "wasm")), doc = $doc)])*
        #[cfg_attr(target_family = "wasm", allow(missing_docs))]
        #[derive($($derived),*)]
        pub struct $name {
            $(
                $(#[cfg_attr(any(doc, not(target_family = "wasm")), doc = $field_doc)])*
                pub $field: $type,
            )*
        }
    };
    (
        $(#[doc = $doc:tt])*
        #[derive($($derived:ident),*)]
        pub struct $name:ident($type:ty);
    ) => {
        $(#[cfg_attr(any(doc, not(target_family = "wasm")), doc = $doc)])*
        #[cfg_attr(target_family = "wasm", allow(missing_docs))]
        #[derive($($derived),*)]
        pub struct $name($type);
    };
}

pub(crate) use documented_natively;
