//! What a request and a response may have, with the texts of the IC.

use candid::Principal;
use ic_management_canister_types::{HttpHeader, HttpMethod, HttpRequestArgs};
use pocket_ic::ErrorCode;

use crate::errors::Reject;

/// What a response may have where the request sets no limit.
pub(super) const MAX_RESPONSE_BYTES: u64 = 2_000_000;
/// Headers and body of a request, or of a response.
const MAX_MESSAGE_BYTES: usize = 2_000_000;
const MAX_URL: usize = 8_192;
const MAX_HEADERS: usize = 64;
const MAX_NAME_OR_VALUE: usize = 8 * 1_024;
const MAX_ALL_HEADERS: usize = 48 * 1_024;
/// A name and a value, each as long as it may be.
const MAX_HEADER: usize = 2 * MAX_NAME_OR_VALUE;

/// The bounds that the management canister applies while it decodes the headers of a request.
pub(super) fn check_decoding(args: &HttpRequestArgs) -> Result<(), Reject> {
    let mut total = 0;
    for (number, header) in args.headers.iter().enumerate() {
        let size = size(header);
        total += size;
        let broken = if number >= MAX_HEADERS {
            format!("The number of elements exceeds maximum allowed {MAX_HEADERS}")
        } else if size > MAX_HEADER {
            format!("The single element data size exceeds maximum allowed {MAX_HEADER}")
        } else if total > MAX_ALL_HEADERS {
            format!("The total data size exceeds maximum allowed {MAX_ALL_HEADERS}")
        } else {
            continue;
        };
        return Err(Reject::invalid_payload(format!(
            "Deserialize error: {broken}"
        )));
    }
    Ok(())
}

/// The bounds of a request that has been decoded, in the order in which the management canister checks them.
pub(super) fn check_request(args: &HttpRequestArgs, sender: Principal) -> Result<(), Reject> {
    let refuse = |text| Err(Reject::new(ErrorCode::CanisterRejectedMessage, text));
    if let Some(transform) = &args.transform {
        let owner = transform.function.0.principal;
        if owner != sender {
            return refuse(format!(
                "transform principal id expected to be {sender}, got {owner}"
            ));
        }
    }
    if args.url.len() > MAX_URL {
        return refuse(format!("url size {} exceeds {MAX_URL}", args.url.len()));
    }
    if let Err(text) = check_message(&args.headers, args.body.as_ref().map_or(0, Vec::len)) {
        return refuse(text);
    }
    if let Some(bytes) = args.max_response_bytes
        && bytes > MAX_RESPONSE_BYTES
    {
        return refuse(format!(
            "max_response_bytes expected to be in the range [0..{MAX_RESPONSE_BYTES}], got {bytes}"
        ));
    }
    let once_only = matches!(
        args.method,
        HttpMethod::PUT | HttpMethod::DELETE | HttpMethod::PATCH
    );
    if once_only && args.is_replicated != Some(false) {
        return refuse(
            "The requested HTTP method is only allowed for non-replicated requests.".to_owned(),
        );
    }
    Ok(())
}

/// The bounds of headers and body, the same for requests and responses.
pub(super) fn check_message(headers: &[HttpHeader], body: usize) -> Result<(), String> {
    let longest = |length: fn(&HttpHeader) -> usize| headers.iter().map(length).max().unwrap_or(0);
    let name = longest(|header| header.name.len());
    let value = longest(|header| header.value.len());
    let all: usize = headers.iter().map(size).sum();
    if headers.len() > MAX_HEADERS {
        return Err(format!(
            "number of all http headers {} exceeds {MAX_HEADERS}",
            headers.len()
        ));
    }
    if name > MAX_NAME_OR_VALUE {
        return Err(format!(
            "number of bytes to represent some http header name {name} exceeds {MAX_NAME_OR_VALUE}"
        ));
    }
    if value > MAX_NAME_OR_VALUE {
        return Err(format!(
            "number of bytes to represent some http header value {value} exceeds {MAX_NAME_OR_VALUE}"
        ));
    }
    if all > MAX_ALL_HEADERS {
        return Err(format!(
            "total number of bytes to represent all http header names and values {all} exceeds {MAX_ALL_HEADERS}"
        ));
    }
    if all + body > MAX_MESSAGE_BYTES {
        return Err(format!(
            "total number of bytes to represent all http header names and values and http body {} exceeds \
             {MAX_MESSAGE_BYTES}",
            all + body
        ));
    }
    Ok(())
}

/// What a node refuses to download: more than the request's limit, in headers and body together.
pub(super) fn check_download(
    headers: &[HttpHeader],
    body: usize,
    limit: u64,
) -> Result<(), String> {
    let headers: usize = headers.iter().map(size).sum();
    match limit.checked_sub(headers as u64) {
        None => Err(format!(
            "Header size exceeds specified response size limit {limit}"
        )),
        Some(left) if body as u64 > left => {
            Err(format!("Http body exceeds size limit of {limit} bytes."))
        }
        Some(_) => Ok(()),
    }
}

/// What a request is priced by.
pub(super) fn request_size(args: &HttpRequestArgs) -> usize {
    let headers: usize = args.headers.iter().map(size).sum();
    let transform = args.transform.as_ref().map_or(0, |transform| {
        transform.function.0.method.len() + transform.context.len()
    });
    args.url.len() + headers + args.body.as_ref().map_or(0, Vec::len) + transform
}

fn size(header: &HttpHeader) -> usize {
    header.name.len() + header.value.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn download_is_limited_in_headers_and_body_together() {
        let headers = vec![HttpHeader {
            name: "date".to_owned(),
            value: "today".to_owned(),
        }];
        assert_eq!(check_download(&headers, 91, 100), Ok(()));
        // It names the whole limit, not what the headers have left of it.
        let text = "Http body exceeds size limit of 100 bytes.";
        assert_eq!(check_download(&headers, 92, 100), Err(text.to_owned()));
        let text = "Header size exceeds specified response size limit 8";
        assert_eq!(check_download(&headers, 0, 8), Err(text.to_owned()));
        assert_eq!(check_download(&headers, 0, 9), Ok(()));
        assert_eq!(check_download(&[], usize::MAX, u64::MAX), Ok(()));
    }
}
