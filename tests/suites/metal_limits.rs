//! Metal's working set by memory size and system against published logs.
#![allow(clippy::panic, clippy::expect_used, clippy::unwrap_used, clippy::print_stdout, clippy::cast_precision_loss)]

use std::collections::BTreeSet;

use llm_vram_core::{
    Bytes,
    metal_limits::{MacOs, metal_max_buffer, metal_working_set, metal_working_set_override},
};
use llm_vram_tests::tsv;

#[test]
fn working_sets_are_as_logged() {
    let (mut sets, mut buffers, mut sizes) = (0, 0, BTreeSet::new());
    for row in tsv("metal_limits.tsv") {
        let nameplate = Bytes::mib(row.number("ram_gib") * 1024);
        let system = MacOs::from_version(row.text("system")).unwrap();
        let unit = match row.text("unit") {
            "B" => 1.0,
            "MB" => 1e6,
            "MiB" => 1024.0 * 1024.0,
            "GiB" => 1024.0 * 1024.0 * 1024.0,
            other => panic!("{}: unit {other}", row.place()),
        };
        let printed = row.text("value");
        let value: f64 = printed.parse().unwrap();
        // A printed number stands for all that round to it.
        let decimals = printed.split_once('.').map_or(0, |(_, digits)| digits.len());
        let tolerance = if unit == 1.0 { 0.0 } else { 0.5 * 10_f64.powi(-i32::try_from(decimals).unwrap()) * unit };
        let limit = if row.number("override") == 1 {
            let mebibytes = value * unit / 1024.0 / 1024.0;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            metal_working_set_override(nameplate, system, mebibytes as u64)
        } else {
            sizes.insert((system == MacOs::From26, row.number("ram_gib")));
            metal_working_set(nameplate, system)
        };
        let difference = (limit.bytes.get() as f64 - value * unit).abs();
        assert!(
            difference <= tolerance + 1e-6 * unit,
            "{}: {printed} {} logged, {} computed",
            row.place(),
            row.text("unit"),
            limit.bytes.get()
        );
        assert!(limit.measured, "{}: a log shows this size", row.place());
        sets += 1;
        if !row.text("max_buffer").is_empty() {
            assert_eq!(metal_max_buffer(nameplate, system).get(), row.number("max_buffer"), "{}", row.place());
            buffers += 1;
        }
    }
    println!("working sets: {sets} of {sets} logs as printed, {} memory sizes; largest buffers: {buffers} exact", sizes.len());
    assert_eq!((sets, buffers), (38, 6));
}

#[test]
fn every_size_has_a_limit_below_its_memory() {
    for mebibytes in [1_u64, 100, 8192, 12_288, 98_304, 196_608, 524_288, 1 << 33] {
        for system in [MacOs::UpTo15, MacOs::From26] {
            let nameplate = Bytes::mib(mebibytes);
            let limit = metal_working_set(nameplate, system);
            assert!(limit.bytes <= nameplate && limit.bytes.get() * 5 >= nameplate.get() * 3, "{mebibytes} MiB: {limit:?}");
        }
    }
    assert!(!metal_working_set(Bytes::mib(8192), MacOs::From26).measured);
    assert!(MacOs::from_version("Sequoia").is_err());
}
