//! What a message costs in wall time, by the size of the canister's memory: `cargo run -p local-replica --example speed`.
#![forbid(unsafe_code)]

mod certificates;
mod measure;

use local_replica::in_process::Error;
use measure::{Subject, compilations, large_module};

const MB: u64 = 1 << 20;

fn main() -> Result<(), Error> {
    println!("   heap   stable   an empty message   one that writes to both");
    for (heap, stable) in [(0, 0), (100, 0), (0, 64), (0, 1_024), (100, 1_024)] {
        let mut subject = Subject::new(heap * MB, stable * MB)?;
        let (nothing, touch) = (subject.message("nothing")?, subject.message("touch")?);
        println!(
            "{heap:4} MB  {stable:4} MB   {:>16}   {:>23}",
            format!("{nothing:.1?}"),
            format!("{touch:.1?}")
        );
    }
    let times = certificates::measure()?;
    println!(
        "\na certificate takes {:.1?}; a query {:.1?}, and {:.1?} if it looks at its certificate",
        times.certificate, times.plain, times.proved
    );
    let wasm = large_module();
    let (first, second) = compilations(&wasm);
    println!(
        "a module of {} kB compiles in {first:.1?}, the second time in {second:.1?}",
        wasm.len() / 1_000
    );
    Ok(())
}
