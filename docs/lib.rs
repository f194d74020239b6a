//! The pages of the book as doctests: each of their Rust blocks must compile.

#![forbid(unsafe_code)]

/// One module for each page.
#[cfg(doctest)]
macro_rules! pages {
    ($($page:ident: $file:literal)*) => {$(
        #[doc = include_str!(concat!("src/", $file, ".md"))]
        mod $page {}
    )*};
}

#[cfg(doctest)]
pages! {
    getting_started: "getting-started"
}
