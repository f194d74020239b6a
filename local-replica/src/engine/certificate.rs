//! A certificate that is made when somebody looks at it: most queries don't, and signing takes longer than they do.

use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, LazyLock};

type Make = Box<dyn FnOnce() -> Vec<u8> + Send>;

/// What proves a canister's certified data, made once at its first use.
#[derive(Clone)]
pub struct DataCertificate(Arc<LazyLock<Vec<u8>, Make>>);

impl DataCertificate {
    /// The certificate that `make` returns.
    pub fn new(make: impl FnOnce() -> Vec<u8> + Send + 'static) -> Self {
        Self(Arc::new(LazyLock::new(Box::new(make))))
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Debug for DataCertificate {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str("DataCertificate")
    }
}
