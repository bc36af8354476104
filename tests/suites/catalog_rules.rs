//! What the catalog promises, one test for each rule.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{collections::BTreeMap, fs, io::Write, path::Path, time::Instant};

use flate2::{Compression, write::GzEncoder};
use llm_vram_core::{
    ErrorKind, Model,
    catalog::{self, data},
    input::hf_config::HfConfig,
    model::Group,
};
use xtask::{
    catalog::{
        Catalog, Finding, page,
        rules::{RULES, check},
    },
    commands::{add_gpu, add_model},
    workspace_root,
};

fn files() -> Catalog {
    Catalog::load(&workspace_root().join("catalog")).unwrap_or_else(|findings| panic!("{}", listed(&findings)))
}

fn listed<T: ToString>(findings: &[T]) -> String {
    findings.iter().map(T::to_string).collect::<Vec<_>>().join("\n")
}

/// Checks one rule on every file.
fn rule(name: &str) {
    let rule = RULES.iter().find(|rule| rule.name == name).unwrap_or_else(|| panic!("no rule `{name}`"));
    let catalog = files();
    let findings = (rule.check)(&catalog);
    assert!(findings.is_empty(), "{}:\n{}", rule.asks, listed(&findings));
    println!("{name}: {} ({})", rule.asks, catalog.summary());
}

macro_rules! rules {
    ($($test:ident = $name:literal,)*) => {
        $(#[test]
        fn $test() {
            rule($name);
        })*

        /// Every rule has its test here.
        #[test]
        fn every_rule_is_tested() {
            let tested = [$($name),*];
            let missing: Vec<_> = RULES.iter().map(|rule| rule.name).filter(|name| !tested.contains(name)).collect();
            assert!(missing.is_empty(), "no test for {missing:?}");
        }
    };
}

rules! {
    ids_are_words_unique_and_not_retired = "ids",
    no_name_leads_to_two_records = "names",
    every_record_has_a_public_source = "sources",
    releases_and_launches_are_months = "months",
    architectures_are_within_bounds_and_agree = "architecture",
    parameter_counts_follow_from_architectures = "parameters",
    parts_give_the_total = "counts",
    classes_follow_from_sizes = "class",
    bandwidth_is_bus_times_rate = "bandwidth",
    rates_say_what_they_are_of = "rates",
    drivers_report_no_more_than_the_nameplate = "memory",
    working_sets_follow_the_rule = "working set",
    bits_per_weight_follow_from_blocks = "blocks",
    block_layouts_are_those_of_ggml = "ggml blocks",
    terms_point_to_terms = "links",
}

#[test]
fn the_baked_files_are_current() {
    let folder = workspace_root().join("catalog");
    for (name, text) in files().baked().unwrap_or_else(|findings| panic!("{}", listed(&findings))) {
        let written = fs::read_to_string(folder.join(name)).unwrap();
        assert!(written == text, "catalog/{name} is not what the files say: run `cargo xtask bake`");
        println!("catalog/{name}: {} bytes, current", text.len());
    }
}

#[test]
fn the_embedded_form_says_what_the_files_say() {
    let catalog = files();
    assert_eq!(catalog.models.len(), data::models().len());
    for entry in &catalog.models {
        let record = data::model(&entry.id).unwrap();
        let mut stated = entry.record.architecture.clone();
        stated.name.clone_from(&entry.record.name);
        assert_eq!(catalog::hyperparameters(record), stated, "{}", entry.path);
    }
    println!("{} architectures, all equal", catalog.models.len());
}

#[test]
fn the_whole_catalog_is_small() {
    let folder = workspace_root().join("catalog");
    for name in ["baked.rs", "catalog.json"] {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&fs::read(folder.join(name)).unwrap()).unwrap();
        let size = encoder.finish().unwrap().len();
        println!("catalog/{name}: {size} bytes compressed");
        assert!(size <= 150_000, "catalog/{name} is {size} bytes compressed, at most 150 kB are allowed");
    }
}

#[test]
fn counts_do_not_shrink() {
    let counts =
        [data::models().len(), data::hardware().len(), data::quants().len(), data::engines().len(), data::glossary().len()];
    println!("models, devices, weight formats, engines, terms: {counts:?}");
    for (found, least) in counts.into_iter().zip([284, 299, 62, 8, 55]) {
        assert!(found >= least, "{found} records where there were {least}");
    }
}

#[test]
fn every_model_is_valid_and_found_by_each_of_its_names() {
    let mut names = 0;
    for record in data::models() {
        let found = catalog::model(record.id).unwrap_or_else(|error| panic!("{}: {error}", record.id));
        assert_eq!(found.record.id, record.id);
        let tag = record.ollama_tag.into_iter();
        for name in record.aliases.iter().copied().chain([record.name, record.hf_id]).chain(tag) {
            for spelt in [name.to_owned(), name.to_uppercase(), name.replace(['-', ' ', '_'], " ")] {
                assert_eq!(data::model(&spelt).map(|found| found.id), Some(record.id), "`{spelt}`");
                names += 1;
            }
        }
    }
    println!("{} models by {names} spellings", data::models().len());
}

#[test]
fn numbers_stay_apart() {
    for (name, id) in [
        ("Gemma 3 1B", Some("gemma-3-1b")),
        ("gemma31b", None),
        ("llama-3.1-8b", Some("llama-3.1-8b")),
        ("llama3.1:8b", Some("llama-3.1-8b")),
        ("Meta-Llama/LLAMA_3.1_8B-instruct", Some("llama-3.1-8b")),
        ("llama-31-8b", None),
        ("", None),
        ("···", None),
    ] {
        assert_eq!(data::model(name).map(|record| record.id), id, "`{name}`");
    }
    for (name, id) in [
        ("rtx 4090", "rtx-4090"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("4090", "rtx-4090"),
        ("RTX_3060_12GB", "rtx-3060-12gb"),
        ("h100-sxm-80gb", "h100-sxm-80gb"),
        ("macbook-pro-m4-max-128gb", "macbook-pro-m4-max-128gb"),
        ("mac-studio-m3-ultra-512gb", "mac-studio-m3-ultra-512gb"),
        ("mac-studio-m4-max-128gb", "macbook-pro-m4-max-128gb"),
    ] {
        assert_eq!(catalog::device(name).unwrap().id, id, "`{name}`");
    }
}

#[test]
fn unknown_names_give_the_nearest() {
    let error = catalog::model("lama-3.1-8b").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownModel);
    assert!(error.help_text().unwrap().contains("`llama-3.1-8b`"), "{:?}", error.help_text());
    let error = catalog::device("rtx-5060-ti").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownHardware);
    assert_eq!(error.help_text(), Some("did you mean `rtx-5060-ti-8gb` or `rtx-5060-ti-16gb`?"));
    let long = "q".repeat(1 << 20);
    let start = Instant::now();
    assert!(catalog::model(&long).unwrap_err().message().len() < 200);
    assert!(start.elapsed().as_millis() < 200);
    assert!(catalog::model("🦙🦙").is_err());
}

/// A folder with a few records of the catalog, one of which was changed; what loading and checking it finds.
fn findings_after(test: &str, file: &str, from: &str, to: &str) -> Vec<Finding> {
    let source = workspace_root().join("catalog");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    let copies = [
        "models/meta/llama-3.1-8b.toml",
        "models/qwen/qwen3-30b-a3b.toml",
        "hardware/nvidia/rtx-4090.toml",
        "hardware/nvidia/rtx-3090.toml",
        "hardware/apple/macbook-pro-m4-max-128gb.toml",
        "quants/gguf/Q8_0.toml",
        "engines/llama.cpp.toml",
        "glossary/mmap.toml",
        "glossary/gguf.toml",
        "glossary/offloading.toml",
        "retired.toml",
    ];
    for copy in copies {
        let mut text = fs::read_to_string(source.join(copy)).unwrap();
        if copy.starts_with("glossary") {
            text = text.lines().filter(|line| !line.starts_with("see_also")).map(|line| format!("{line}\n")).collect();
        }
        if copy == file {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{file} has no `{from}`");
            text = changed;
        }
        fs::create_dir_all(folder.join(copy).parent().unwrap()).unwrap();
        fs::write(folder.join(copy), text).unwrap();
    }
    match Catalog::load(&folder) {
        Ok(catalog) => check(&catalog),
        Err(findings) => findings,
    }
}

#[test]
fn a_wrong_record_is_named_with_field_and_reason() {
    let llama = "models/meta/llama-3.1-8b.toml";
    let qwen = "models/qwen/qwen3-30b-a3b.toml";
    let card = "hardware/nvidia/rtx-4090.toml";
    let mac = "hardware/apple/macbook-pro-m4-max-128gb.toml";
    let cases = [
        (llama, "licence =", "colour = \"blue\"\nlicence =", "line", "unknown field `colour`"),
        (llama, "name =", "#", "line", "missing field `name`"),
        (llama, "block_count = 32", "block_count = \"many\"", "line", "invalid type"),
        (llama, "block_count = 32", "block_count = 31", "parameters.text", "the architecture gives"),
        (llama, "block_count = 32", "block_count = 0", "architecture.block_count", "out of range"),
        (llama, "head_count_kv = 8", "head_count_kv = 7", "architecture.head_count_kv", "do not divide"),
        (llama, "text = 8_030_261_248", "text = 8_030_261_249", "parameters.total", "together"),
        (llama, "class = \"edge\"", "class = \"serious\"", "class", "another class"),
        (llama, "https://huggingface.co", "http://huggingface.co", "source", "not a public address"),
        (llama, "\"2026-11-22\"", "\"today\"", "source", "not a day"),
        (llama, "\"hf_id\"", "\"hf_di\"", "source", "`hf_di`"),
        (llama, "release = \"2024-07\"", "release = \"July\"", "release", "not a month"),
        (llama, "ollama_tag = \"llama3.1:8b\"", "ollama_tag = \"qwen3:30b-a3b\"", "aliases", "also names"),
        (qwen, "expert_used_count = 8", "expert_used_count = 800", "architecture.expert_used_count", "more than the 128 experts"),
        (qwen, "active = 3", "active = 93", "parameters.active", "more parameters are active"),
        (card, "bandwidth_gb_s = 1008.0", "bandwidth_gb_s = 1108.0", "bandwidth_gb_s", "1108 GB/s is stated"),
        (card, "memory_mib_reported = 24564", "memory_mib_reported = 25564", "memory_mib_reported", "nameplate"),
        (card, "min = 24077", "min = 34077", "line", "`min` is not below `max`"),
        (card, "NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 3090", "aliases", "also names"),
        (mac, "working_set_mib = 98304", "working_set_mib = 98305", "working_set_mib", "the rule gives"),
        ("quants/gguf/Q8_0.toml", "block_bytes = 34", "block_bytes = 36", "bits_per_weight", "9 bits"),
        ("glossary/mmap.toml", "text =", "see_also = [\"nothing\"]\ntext =", "see_also", "`nothing` is no other term"),
        ("retired.toml", "", "[[id]]\nfolder = \"models\"\nid = \"llama-3.1-8b\"\nbecause = \"of this test\"\n", "id", "retired"),
    ];
    assert_eq!(listed(&findings_after("unchanged", "retired.toml", "", "# nothing\n")), "");
    for (number, (file, from, to, field, reason)) in cases.iter().enumerate() {
        let findings = findings_after(&format!("wrong-{number}"), file, from, to);
        let expected_file = if *file == "retired.toml" { llama } else { file };
        // Names are checked in the order of the files, so the second of two that clash is reported.
        let hit = findings.iter().any(|finding| {
            (finding.file == expected_file || finding.reason.contains(expected_file))
                && finding.field.starts_with(field)
                && finding.reason.contains(reason)
        });
        assert!(hit, "`{to}` in {file}: expected {field}: {reason}, found\n{}", listed(&findings));
    }
    println!("{} wrong records, each named with file, field and reason", cases.len());
}

#[test]
fn models_have_the_tensors_of_their_configs() {
    #[derive(serde::Deserialize)]
    struct Row {
        id: String,
        config: serde_json::Value,
    }
    let rows: Vec<Row> = llm_vram_tests::jsonl("hf_configs.jsonl");
    let shapes = |model: &Model| -> Vec<(String, [u64; 4])> {
        let text = model.tensors().iter().filter(|tensor| tensor.group == Group::Text);
        let mut shapes: Vec<_> = text.map(|tensor| (tensor.name(), tensor.shape)).collect();
        shapes.sort();
        shapes
    };
    let mut compared = 0;
    for row in rows {
        // The file of GLM-4.5-Air carries its prediction block; its record describes the file.
        let Some(record) = data::model(&row.id).filter(|record| record.id == row.id) else { continue };
        let config = HfConfig::read(&row.config.to_string()).unwrap();
        let (stated, derived) = (shapes(&catalog::model(record.id).unwrap().model), shapes(&config.model().unwrap()));
        let differing: Vec<_> = stated
            .iter()
            .filter(|tensor| !derived.contains(tensor))
            .chain(derived.iter().filter(|tensor| !stated.contains(tensor)))
            .take(4)
            .collect();
        assert!(differing.is_empty(), "{}: {differing:?}", row.id);
        compared += 1;
    }
    println!("{compared} models, tensor by tensor");
    assert!(compared >= 200);
}

#[test]
fn a_new_record_keeps_the_rules() {
    let arguments = add_model::Arguments {
        config: "config.json".into(),
        hf_id: "maker/New-Model-30B".to_owned(),
        name: "New Model 30B".to_owned(),
        maker: "The Maker".to_owned(),
        family: "New".to_owned(),
        licence: "apache-2.0".to_owned(),
        release: Some("2026-11".to_owned()),
        ollama_tag: None,
        id: None,
        published: None,
        date: "2026-11-22".to_owned(),
    };
    let rows: Vec<serde_json::Value> = llm_vram_tests::jsonl("hf_configs.jsonl");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("added");
    drop(fs::remove_dir_all(&folder));
    for kind in ["models", "hardware", "quants", "engines", "glossary"] {
        fs::create_dir_all(folder.join(kind)).unwrap();
    }
    fs::write(folder.join("retired.toml"), "").unwrap();
    let mut added = 0;
    for (number, row) in rows.iter().enumerate() {
        let own =
            add_model::Arguments { hf_id: format!("maker/New-{number}x"), name: format!("New {number}x"), ..arguments.clone() };
        let (path, text, remarks) = add_model::record(&row["config"].to_string(), &own).unwrap();
        // What a plain list of tensors stands in for is said, and the rule asks for the reason.
        if remarks.iter().any(|remark| remark.starts_with("no tensor list")) {
            continue;
        }
        let said = page::add(&folder, &path, &text).unwrap();
        assert!(said.contains("keeps every rule"), "{}: {said}", row["id"]);
        fs::remove_file(folder.join(&path)).unwrap();
        added += 1;
    }
    let (path, text) = add_gpu::record(&add_gpu::Arguments {
        name: "NVIDIA GeForce RTX 6090".to_owned(),
        vendor: "NVIDIA".to_owned(),
        kind: "discrete".to_owned(),
        memory_gib: 48,
        bandwidth: 2304.0,
        bus: Some(512),
        rate: Some(36.0),
        memory_type: Some("GDDR7".to_owned()),
        fp16_tflops: None,
        fp16_kind: None,
        fp8_tflops: Some(1900.0),
        int8_tops: None,
        fp4_tflops: Some(3800.0),
        low_precision_kind: Some("tensor, dense".to_owned()),
        interconnect: None,
        tdp: Some(600),
        launch: Some("2027-01".to_owned()),
        msrp: None,
        compute_capability: None,
        id: None,
        alias: vec!["6090".to_owned()],
        source: "https://example.org/rtx-6090".to_owned(),
        date: "2026-11-22".to_owned(),
    });
    assert_eq!(path, "hardware/nvidia/rtx-6090.toml");
    assert!(page::add(&folder, &path, &text).unwrap().contains("keeps every rule"));
    assert!(page::add(&folder, &path, &text).unwrap_err().contains("exists already"));
    println!("{added} configs became records that keep every rule");
    assert!(added >= 190);
}

/// The completeness table; the share of each optional field that is exact, a range, or unknown.
#[test]
fn completeness_by_field() {
    let mut table: BTreeMap<String, [usize; 3]> = BTreeMap::new();
    let json: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(workspace_root().join("catalog/catalog.json")).unwrap()).unwrap();
    for kind in ["models", "hardware", "quants", "engines"] {
        let records = json[kind].as_array().unwrap();
        let mut fields: Vec<&String> = records.iter().flat_map(|record| record.as_object().unwrap().keys()).collect();
        fields.sort();
        fields.dedup();
        for field in fields {
            let counts = table.entry(format!("{kind}.{field}")).or_default();
            for record in records {
                match &record[field] {
                    serde_json::Value::Null => counts[2] += 1,
                    value if value.get("min").is_some() => counts[1] += 1,
                    _ => counts[0] += 1,
                }
            }
        }
    }
    println!("{:36} {:>6} {:>6} {:>8}", "field", "exact", "range", "unknown");
    for (field, [exact, range, unknown]) in &table {
        println!("{field:36} {exact:6} {range:6} {unknown:8}");
    }
    assert!(table["hardware.bandwidth_gb_s"][2] == 0 && table["models.architecture"][2] == 0);
}
