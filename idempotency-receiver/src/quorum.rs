//! N of M: a request is executed when enough senders have sent it.

use http::request::Parts;
use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

/// Executes a request once `needed` copies of it have arrived within some time, with the same key and the same body.
///
/// A single replica of a subnet can send whatever it likes. If more copies are needed than there may be faulty replicas, 5 of 13
/// for instance, then no effect is what faulty replicas alone have asked for. That needs an answer to "who sent it?",
/// [`from`](Self::from); without one each request counts, and whoever sends it often enough has it executed.
///
/// Copies that come before wait, and all get the same answer. Those that have waited for
/// [`IdempotencyLayer::wait`](crate::IdempotencyLayer::wait) are told 503 with `Retry-After`, and count on. It is 503 and not 409
/// since nothing is being done, and not 425 since the request came neither early nor in a TLS handshake: 503 is what clients and
/// proxies take for "not processed, send it again".
///
/// Copies are counted in the memory of one process. Behind a load balancer send those with the same key to the same one. After a
/// restart they are counted anew, which does no harm as nothing was executed.
#[derive(Clone)]
pub struct Quorum {
    pub(crate) needed: usize,
    pub(crate) within: Duration,
    pub(crate) sender: Option<Sender>,
}

/// Tells who sent a request.
type Sender = Arc<dyn Fn(&Parts) -> Option<Vec<u8>> + Send + Sync>;

impl Quorum {
    /// This many copies, within this time from the first. 1 is as good as no quorum.
    pub fn new(needed: usize, within: Duration) -> Self {
        Self {
            needed,
            within,
            sender: None,
        }
    }

    /// Copies count only once for each sender, such as the address that a request comes from. Those of whom this says `None`
    /// count as one.
    ///
    /// ```
    /// # use std::{net::SocketAddr, time::Duration};
    /// use axum::extract::ConnectInfo;
    /// use idempotency_receiver::Quorum;
    ///
    /// // The server is made with `into_make_service_with_connect_info::<SocketAddr>()`.
    /// let five = Quorum::new(5, Duration::from_secs(60)).from(|parts| {
    ///     let ConnectInfo(address) = parts.extensions.get::<ConnectInfo<SocketAddr>>()?;
    ///     Some(address.ip().to_string())
    /// });
    /// ```
    pub fn from<T: Into<Vec<u8>>>(
        mut self,
        sender: impl Fn(&Parts) -> Option<T> + Send + Sync + 'static,
    ) -> Self {
        self.sender = Some(Arc::new(move |parts| sender(parts).map(T::into)));
        self
    }
}

impl fmt::Debug for Quorum {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Quorum")
            .field("needed", &self.needed)
            .field("within", &self.within)
            .field("senders_are_told_apart", &self.sender.is_some())
            .finish()
    }
}

/// Whom a request comes from, by `X-Forwarded-For`, if it came through this many proxies of yours, each of which appends the
/// address that it was called from. What stands before was written by others, who can write anything. `None` if fewer addresses
/// stand there, or no address.
///
/// Only for servers that can't be reached but through these proxies: else a sender makes up as many senders as it likes.
pub fn forwarded_for(parts: &Parts, proxies: usize) -> Option<String> {
    let values: Option<Vec<_>> = parts
        .headers
        .get_all("x-forwarded-for")
        .iter()
        .map(|value| value.to_str().ok())
        .collect();
    let values = values?;
    let addresses = values.iter().flat_map(|value| value.split(','));
    let addresses: Vec<_> = addresses.map(str::trim).collect();
    let index = addresses.len().checked_sub(proxies.max(1))?;
    let address: IpAddr = addresses.get(index)?.parse().ok()?;
    Some(address.to_canonical().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    #[test]
    fn only_what_ones_own_proxies_wrote_is_believed() {
        let of = |values: &[&str], proxies| {
            let mut request = Request::builder();
            for value in values {
                request = request.header("x-forwarded-for", *value);
            }
            let (parts, ()) = request.body(()).expect("it is a request").into_parts();
            forwarded_for(&parts, proxies)
        };
        let some = |address: &str| Some(address.to_owned());
        assert_eq!(of(&["1.1.1.1, 2.2.2.2"], 1), some("2.2.2.2"));
        assert_eq!(of(&["1.1.1.1, 2.2.2.2"], 2), some("1.1.1.1"));
        assert_eq!(
            of(&["1.1.1.1", "2.2.2.2, 2001:DB8::1"], 1),
            some("2001:db8::1")
        );
        assert_eq!(of(&["::ffff:1.1.1.1"], 1), some("1.1.1.1"));
        assert_eq!(of(&["1.1.1.1, 2.2.2.2"], 3), None);
        assert_eq!(of(&["1.1.1.1, me"], 1), None);
        assert_eq!(of(&[], 1), None);
    }
}
