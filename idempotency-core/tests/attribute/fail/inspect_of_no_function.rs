use idempotency_core::inspect;

#[ic_cdk::inspect_message]
fn inspect_message() {
    if inspect!("pay").is_ok() {
        ic_cdk::api::accept_message();
    }
}

fn main() {}
