use idempotency_core::endpoint;

fn main() {
    endpoint!("pay");
    endpoint!(pay, step);
}
