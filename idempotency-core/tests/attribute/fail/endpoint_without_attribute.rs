use idempotency_core::endpoint;

mod other {
    #[ic_cdk::update]
    pub fn refund(key: u64) -> u64 {
        key
    }
}

fn main() {
    endpoint!(other::refund);
}
