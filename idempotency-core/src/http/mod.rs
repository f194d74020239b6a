//! Metrics for Prometheus and a status page, as answers to `http_request`. With the feature `http`.
//!
//! ```
//! use ic_stable_structures::DefaultMemoryImpl;
//! use idempotency_core::{
//!     Policy, Store,
//!     http::{self, HttpRequest, HttpResponse},
//! };
//!
//! thread_local! {
//!     static TRANSFERS: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
//! }
//!
//! #[ic_cdk::query]
//! fn http_request(request: HttpRequest) -> HttpResponse<'static> {
//!     http::serve(&request, &[("transfers", &TRANSFERS)])
//! }
//! # fn main() {}
//! ```
//!
//! | path | answer to `GET` and `HEAD` |
//! |---|---|
//! | `/` | a page for people: HTML with drawings in it, without scripts, and with nothing from elsewhere |
//! | `/metrics` | metrics in the text format of Prometheus |
//! | any other | 404 |
//!
//! Any other method gets 405. A query string is ignored, and nothing of a request stands in its answer.
//!
//! # Who sees it
//! Everybody: a canister is not told who asks. Both show numbers, the names that you give to stores, and for requests whose outcome is
//! unknown the endpoint, the step that began last and the time. They show no keys, callers, arguments, replies or texts of errors. So
//! nothing secret may stand in the names of steps.
//!
//! # What it costs
//! Queries are free. A store with this feature takes samples of how full it is, no more than 48 in a window, and keeps the last 96 on the
//! heap: some 3,000 bytes. An upgrade forgets them. An answer takes at most 64 kB for each store.
//!
//! # Certification
//! HTTP gateways check that an answer is certified, but for names with `.raw.` in them. These answers say that they need no
//! certification, and it is that word which must be certified: see [`certify_skip`].

mod chart;
mod metrics;
mod observation;
mod page;
mod text;

pub use ic_http_certification::{HttpRequest, HttpResponse};
pub use observation::{Observation, Observed};

use crate::{
    runtime::{Canister, Runtime as _},
    time::Timestamp,
};
use ic_http_certification::{
    Method, StatusCode,
    utils::{add_skip_certification_header, skip_certification_certified_data},
};
use page::Page;

/// What browsers may do with a page: show it, with its own style sheet. The digest is that of `page.css`.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; \
    style-src 'sha256-2zpFnzwFpRsxOR854dN5ZRwcoHyhH/P7QUtGkimnbTk='; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Answers a request with what the stores say, each under a name of its own, and with the certificate of the canister.
///
/// It opens a store that was not opened before, so it traps as [`Store::new`](crate::Store::new) does if that can't be opened.
pub fn serve(
    request: &HttpRequest<'_>,
    stores: &[(&str, &'static dyn Observed)],
) -> HttpResponse<'static> {
    let observed = |(name, store): &(_, &'static dyn Observed)| (*name, store.observe());
    let stores: Vec<_> = stores.iter().map(observed).collect();
    let mut response = respond(request, &stores, Canister.time());
    if let Some(certificate) = Canister.data_certificate() {
        add_skip_certification_header(certificate, &mut response);
    }
    response
}

/// Does the same as [`serve`], with the time as an argument, and without a certificate: for tests, and for canisters that certify
/// something else besides.
pub fn respond(
    request: &HttpRequest<'_>,
    stores: &[(&str, Observation)],
    now: Timestamp,
) -> HttpResponse<'static> {
    let is_page = match request.url().split(['?', '#']).next() {
        Some("/") => true,
        Some("/metrics") => false,
        _ => return text(StatusCode::NOT_FOUND, "There is / and /metrics.\n"),
    };
    let method = request.method();
    if method != Method::GET && method != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD.\n");
        response.add_header(("Allow".to_owned(), "GET, HEAD".to_owned()));
        return response;
    }
    let content = match is_page {
        true => Ok((
            "text/html; charset=utf-8",
            Page { stores, now }.to_string().into_bytes(),
        )),
        false => metrics::metrics(stores, now)
            .map(|text| ("text/plain; version=0.0.4; charset=utf-8", text)),
    };
    match content {
        Ok((kind, body)) => {
            let body = if method == Method::HEAD { vec![] } else { body };
            answer(StatusCode::OK, kind, body)
        }
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "It can't be written.\n"),
    }
}

/// Certifies that answers need no certification, so that HTTP gateways let them through: call it in `init` and in `post_upgrade`.
///
/// It sets the canister's certified data, all of it. So a canister that certifies anything else must not call it: what that was would be
/// certified no more. Such a canister puts the labels `http_expr`, `<*>` and the hash of the expression beside its own labels in one tree,
/// and adds that tree to what [`respond`] gives, with `ic_http_certification::utils::add_v2_certificate_header`. With neither, the answers
/// reach browsers under names with `.raw.` in them.
pub fn certify_skip() {
    Canister.certify(&skip_certification_certified_data());
}

fn text(status: StatusCode, text: &'static str) -> HttpResponse<'static> {
    answer(
        status,
        "text/plain; charset=utf-8",
        text.as_bytes().to_vec(),
    )
}

fn answer(status: StatusCode, kind: &str, body: Vec<u8>) -> HttpResponse<'static> {
    let headers = [
        ("Content-Type", kind),
        ("Content-Security-Policy", CONTENT_SECURITY_POLICY),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Cache-Control", "no-store"),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    HttpResponse::builder()
        .with_status_code(status)
        .with_headers(headers.to_vec())
        .with_body(body)
        .build()
}

#[cfg(test)]
mod tests;
