//! Archives and their filter at full size: the real structures, natively, with files in place of stable memory. Ids are shipped in chunks as
//! a canister ships them; archives are filled one after another, each merges after each chunk; then ids are looked up that are there, and
//! such as never were.
//!
//! ```sh
//! cargo run --release -p bench-scale -- --ids 1000000000 --archives 8 --dir /dev/shm
//! ```
//!
//! An archive's file goes when it is full and was looked into, and the next begins: 1,000,000,000 ids take some 9 GB at a time.
//! Nothing here depends on the machine but the ratios of times; the figures go to `bench/scale.csv`, in place of those of the same name and as many ids.
//!
//! | figure | what it is |
//! |---|---|
//! | `archive/bytes` | bytes of memory for each id: of the archive that takes most |
//! | `archive/merged` | rows merged for each id, all levels together |
//! | `archive/append`, `merge` | instructions charged for stable memory alone, for each id: in the message that takes a chunk, and in those that merge |
//! | `archive/runs` | runs of a full archive that has merged all it can |
//! | `archive/present`, `absent` | stable reads of a look-up in a full archive, on average; `…/most`: of the dearest of them; `…/charge`: instructions charged for them |
//! | `archive/time_when_full` | how long a look-up takes in a full archive, in hundredths of the time when a hundredth of its chunks were there |
//! | `filter/bytes` | bytes for each id |
//! | `filter/generations` | how many there are: reads of a look-up |
//! | `filter/wrong`, `promised` | how many of a million ids that never were it may hold, and of how many that was promised at most |
//! | `filter/needless` | of a million ids that are there, for how many it names another archive, too |
//! | `filter/insert` | instructions charged for stable memory alone, for each id: 1,000,000 are put in at a time, or as many as the name says; `…/last`: in the last message |
#![deny(unsafe_code)]

mod figures;
mod memory;

use candid::Principal;
use clap::Parser;
use figures::Figures;
use ic_stable_structures::Memory as _;
use idempotency_archive::{Archive, Merged};
use idempotency_core::archive::{
    Id, SHORT_BYTES,
    generations::{FIRST_IDS, Generations, OneIn, Plan},
    wire::{Append, Appended, Install, Position},
};
use memory::Mapped;
use std::{
    error::Error,
    path::PathBuf,
    time::{Duration, Instant},
};

/// Ids in a chunk: some 2 MB.
const CHUNK: u64 = 100_000;

/// Rows merged in a message.
const ROWS_IN_MESSAGE: u64 = 1_000_000;

/// Ids that never were.
const UNKNOWN: u64 = 1 << 60;

/// Ids that a figure is of.
const SAMPLES: u64 = 20_000;
const MILLION: u64 = 1_000_000;

/// Archives and their filter at full size.
#[derive(Parser)]
struct Arguments {
    /// Ids in all.
    #[arg(long, default_value_t = 1_000_000)]
    ids: u64,
    /// Over how many archives.
    #[arg(long, default_value_t = 8)]
    archives: u32,
    /// The filter may be wrong about one in so many.
    #[arg(long, default_value_t = 1_000)]
    one_in: u32,
    /// Ids that are put into the filter in one message.
    #[arg(long, default_value_t = MILLION)]
    together: u64,
    /// Where the files are put.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
    /// The file that the figures go to.
    #[arg(long, default_value = "bench/scale.csv")]
    to: PathBuf,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let figures = run(&arguments)?;
    print!("{figures}");
    figures.write(&arguments.to, arguments.ids, arguments.archives)?;
    Ok(())
}

fn run(arguments: &Arguments) -> Result<Figures, Box<dyn Error>> {
    let each = arguments.ids / u64::from(arguments.archives.max(1));
    let mut filter = Filter::new(arguments, each)?;
    let mut figures = Figures::default();
    let begun = Instant::now();
    for archive in 0..arguments.archives {
        fill(arguments, archive, each, &mut filter, &mut figures)?;
        let ids = u64::from(archive + 1) * each;
        eprintln!(
            "[{:7.0?}] {ids} ids in {} archives",
            begun.elapsed(),
            archive + 1
        );
    }
    filter.tell(each * u64::from(arguments.archives), each, &mut figures);
    Ok(figures)
}

/// Id number `number`: 16 bytes that look random. (Hashing would take most of the time.)
fn id(number: u64) -> Id {
    let scrambled = |number: u64| {
        let number = (number ^ number >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let number = (number ^ number >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        number ^ number >> 31
    };
    let front = scrambled(number.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1));
    let back = scrambled(front ^ 0x6A09_E667_F3BC_C909);
    let mut id = [0; 16];
    id[..8].copy_from_slice(&front.to_le_bytes());
    id[8..].copy_from_slice(&back.to_le_bytes());
    id
}

/// What an archive keeps of a request whose reply is not kept: its id, a time, and digests.
fn entry(number: u64) -> [u8; SHORT_BYTES] {
    let mut entry = [0; SHORT_BYTES];
    entry[..16].copy_from_slice(&id(number));
    // Ten in a block.
    entry[16..22].copy_from_slice(&(number / 10 * 500).to_le_bytes()[..6]);
    entry[22] = 4;
    entry[23..].copy_from_slice(&id(!number)[..3]);
    entry
}

/// The filter of the canister whose archives these are.
struct Filter {
    memory: Mapped,
    generations: Generations,
    plan: Plan,
    /// Instructions for each id in the last message.
    last: u64,
    /// Ids in a message.
    together: u64,
}

impl Filter {
    fn new(arguments: &Arguments, each: u64) -> Result<Self, Box<dyn Error>> {
        let memory = Mapped::new(&arguments.dir)?;
        memory.grow(1);
        let generations = Generations::open(&memory, 0)?;
        let plan = Plan {
            rate: OneIn::new(arguments.one_in),
            first_ids: FIRST_IDS,
            archive_ids: each,
        };
        Ok(Self {
            memory,
            generations,
            plan,
            last: 0,
            together: arguments.together,
        })
    }

    fn insert(&mut self, archive: u32, ids: &[Id]) {
        let before = self.memory.used();
        let count = ids.len() as u64;
        self.memory.next_message();
        (self.generations)
            .reserve(&self.memory, archive, count, &self.plan)
            .and_then(|()| self.generations.insert(&self.memory, archive, ids))
            .expect("there is room in the file, and for another generation");
        self.last = self.memory.used().since(&before).instructions() / count;
    }

    fn tell(&self, ids: u64, each: u64, figures: &mut Figures) {
        let used = self.memory.used();
        let name = match self.together {
            MILLION => "filter/insert".to_owned(),
            other => format!("filter/insert_{other}"),
        };
        figures.add(&name, used.instructions() as f64 / ids as f64);
        figures.add(&format!("{name}/last"), self.last as f64);
        let bytes = self.memory.size() * 65_536;
        figures.add("filter/bytes", bytes as f64 / ids as f64);
        figures.add("filter/generations", self.generations.all().len() as f64);
        let may_hold = |number| self.generations.may_hold(&self.memory, &id(number));
        let wrong = (UNKNOWN..UNKNOWN + MILLION).filter(|number| !may_hold(*number).is_empty());
        figures.add("filter/wrong", wrong.count() as f64);
        figures.add(
            "filter/promised",
            (MILLION / u64::from(self.plan.rate.number())) as f64,
        );
        let mut needless = 0;
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..MILLION {
            let number = random.u64(0..ids);
            let archives: Vec<u32> = may_hold(number);
            let right = (number / each) as u32;
            assert!(archives.contains(&right), "id {number} is denied");
            needless += u32::from(archives.len() > 1);
        }
        figures.add("filter/needless", needless.into());
    }
}

/// Fills an archive, looks into it, and lets it go.
fn fill(
    arguments: &Arguments,
    number: u32,
    each: u64,
    filter: &mut Filter,
    figures: &mut Figures,
) -> Result<(), Box<dyn Error>> {
    let memory = Mapped::new(&arguments.dir)?;
    let install = Install {
        owner: Principal::from_slice(&[7]),
        keeps_replies: false,
        capacity: each,
        capacity_bytes: u64::MAX,
        cycles: 0u8.into(),
    };
    let mut archive = Archive::install(memory.clone(), &install)?;
    let mut position = Position::default();
    let (first, mut merged) = (u64::from(number) * each, 0);
    let (mut appending, mut merging) = (0, 0);
    let mut time_when_small = None;
    let mut ids: Vec<Id> = vec![];
    let mut next = first;
    while next < first + each {
        let numbers = next..(next + CHUNK).min(first + each);
        next = numbers.end;
        let append = Append::of(position, numbers.clone().map(entry), vec![]);
        let before = memory.used();
        memory.next_message();
        position = match archive.append(&append) {
            Appended::Taken(position) => position,
            other => return Err(format!("the archive does not take a chunk: {other:?}").into()),
        };
        let between = memory.used();
        loop {
            memory.next_message();
            match archive.merge(ROWS_IN_MESSAGE) {
                Merged::Rows(rows) => merged += rows,
                Merged::Nothing => break,
                Merged::NoMemory => return Err("there is no memory to merge".into()),
            }
        }
        appending += between.since(&before).instructions();
        merging += memory.used().since(&between).instructions();
        ids.extend(numbers.map(id));
        if ids.len() as u64 >= arguments.together || next == first + each {
            filter.insert(number, &ids);
            ids.clear();
        }
        if time_when_small.is_none() && next - first >= each / 100 {
            time_when_small = Some(look_up(&archive, &memory, first..next, figures, false)?);
        }
    }
    let time = look_up(&archive, &memory, first..next, figures, true)?;
    let of_each = |sum: u64| sum as f64 / each as f64;
    figures.most("archive/bytes", of_each(archive.bytes()));
    figures.most("archive/merged", of_each(merged));
    figures.most("archive/append", of_each(appending));
    figures.most("archive/merge", of_each(merging));
    figures.most("archive/runs", archive.status(0, 0).runs.into());
    if let Some(small) = time_when_small {
        let ratio = time.as_secs_f64() / small.as_secs_f64();
        figures.most("archive/time_when_full", (100.0 * ratio).round());
    }
    Ok(())
}

/// Looks up ids that are there, and others: how long that took.
fn look_up(
    archive: &Archive<Mapped>,
    memory: &Mapped,
    numbers: std::ops::Range<u64>,
    figures: &mut Figures,
    is_told: bool,
) -> Result<Duration, Box<dyn Error>> {
    let mut random = fastrand::Rng::with_seed(numbers.end);
    let begun = Instant::now();
    for (name, offset) in [("present", 0), ("absent", UNKNOWN)] {
        let (mut reads, mut most, mut charge) = (0, 0, 0);
        for _ in 0..SAMPLES {
            let number = random.u64(numbers.clone()) + offset;
            let before = memory.used();
            let found = archive
                .look_up(Principal::anonymous(), &[id(number)])?
                .found;
            let used = memory.used().since(&before);
            let expected = (offset == 0).then(|| entry(number));
            let found = found[0].as_ref().map(|found| found.entry.as_slice());
            assert_eq!(found, expected.as_ref().map(|it| &it[..]), "id {number}");
            (reads, most, charge) = (
                reads + used.reads,
                most.max(used.reads),
                charge + used.instructions(),
            );
        }
        if is_told {
            let of_each = |sum: u64| sum as f64 / SAMPLES as f64;
            figures.most(&format!("archive/{name}"), of_each(reads));
            figures.most(&format!("archive/{name}/most"), most as f64);
            figures.most(&format!("archive/{name}/charge"), of_each(charge));
        }
    }
    Ok(begun.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each id that is looked up is found, and no other, or `run` fails.
    #[test]
    fn some_million_ids_are_found_in_less_than_40_bytes_each() {
        // So many chunks that there is a merge.
        let arguments = Arguments::parse_from(["", "--ids=3500000", "--archives=1"]);
        let figures = run(&arguments).unwrap();
        assert!(figures.get("archive/bytes") <= 40.0);
        assert!(figures.get("archive/merged") >= 0.5);
        assert!(figures.get("filter/bytes") <= 3.5);
        assert!(figures.get("filter/wrong") <= figures.get("filter/promised"));
    }
}
