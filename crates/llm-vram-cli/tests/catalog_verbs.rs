//! The catalog's verbs as a user runs them: every filter, every form, every name that does not exist.

#![allow(clippy::panic, clippy::expect_used, clippy::unwrap_used)]

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

fn run_with_input(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_llm-vram"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    // A command that needs no input may have closed the pipe already.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    child.wait_with_output().expect("the command ends")
}

fn run(arguments: &[&str]) -> Output {
    run_with_input(arguments, "")
}

fn text(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn answer(arguments: &[&str]) -> Value {
    let arguments = [arguments, &["--json"]].concat();
    serde_json::from_str(&text(&arguments)).unwrap_or_else(|error| panic!("{arguments:?} prints JSON and nothing else: {error}"))
}

fn entries(arguments: &[&str]) -> Vec<Value> {
    answer(arguments)["entries"].as_array().expect("a list").clone()
}

fn call(operation: &str, request: &Value) -> Value {
    let output = run_with_input(&["call", operation], &request.to_string());
    assert!(output.status.success(), "{operation} {request}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn ids(entries: &[Value]) -> Vec<&str> {
    entries.iter().map(|entry| entry["id"].as_str().expect("an id")).collect()
}

/// Runs into an error: exit status 2, nothing on standard output, and the message.
fn refused(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    assert!(output.stdout.is_empty(), "{arguments:?} prints on standard output beside its error");
    String::from_utf8(output.stderr).expect("UTF-8")
}

/// The rows of comma-separated values, each as long as the header.
fn csv_rows(arguments: &[&str]) -> Vec<Vec<(String, String)>> {
    let arguments = [arguments, &["--csv"]].concat();
    let printed = text(&arguments);
    let mut reader = csv::Reader::from_reader(printed.as_bytes());
    let header: Vec<String> = reader.headers().expect("a header").iter().map(ToOwned::to_owned).collect();
    let rows = reader.records().map(|record| {
        let record = record.unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
        header.iter().cloned().zip(record.iter().map(ToOwned::to_owned)).collect()
    });
    rows.collect()
}

/// Arguments, and what every entry that they select has.
type Check = (&'static [&'static str], fn(&Value) -> bool);

#[test]
fn every_filter_of_models_selects_what_it_says() {
    let all = entries(&["models"]);
    assert!(all.len() >= 240, "{} models", all.len());
    // Each filter against the list's own fields, which the filter does not read from the answer.
    let checks: &[Check] = &[
        (&["--family", "Qwen3"], |model| model["family"] == "Qwen3"),
        (&["--family", "qwen3"], |model| model["family"] == "Qwen3"),
        (&["--family", "llama"], |model| model["family"].as_str().unwrap().contains("Llama") && model["maker"] == "Meta"),
        (&["--maker", "mistral"], |model| model["maker"] == "Mistral AI"),
        (&["--licence", "apache"], |model| model["licence"] == "apache-2.0"),
        (&["--license", "mit"], |model| model["licence"] == "mit"),
        (&["--modality", "image"], |model| model["modalities"].as_array().unwrap().contains(&json!("image"))),
        (&["--class", "edge"], |model| model["class"] == "edge"),
        (&["--min-params", "100B"], |model| model["parameters"].as_u64().unwrap() >= 100_000_000_000),
        (&["--max-params", "1B"], |model| model["parameters"].as_u64().unwrap() <= 1_000_000_000),
        (&["--filter", "coder"], |model| {
            ["id", "name", "maker", "family", "hf_id", "ollama_tag"]
                .iter()
                .any(|field| model[field].as_str().is_some_and(|text| text.to_lowercase().contains("coder")))
        }),
    ];
    for (filter, holds) in checks {
        let selected = entries(&[&["models"], *filter].concat());
        let expected: Vec<&Value> = all.iter().filter(|model| holds(model)).collect();
        assert!(!selected.is_empty() && selected.len() < all.len(), "{filter:?}");
        assert_eq!(selected.iter().collect::<Vec<_>>(), expected, "{filter:?}");
    }
    let both = entries(&["models", "--maker", "google", "--class", "edge", "--max-params", "5B"]);
    assert!(!both.is_empty());
    assert!(both.iter().all(|model| model["maker"] == "Google" && model["parameters"].as_u64().unwrap() <= 5_000_000_000));
}

#[test]
fn every_filter_of_gpus_selects_what_it_says() {
    let all = entries(&["gpus"]);
    assert!(all.len() >= 290, "{} devices", all.len());
    let checks: &[Check] = &[
        (&["--vendor", "amd"], |device| device["vendor"] == "AMD"),
        (&["--class", "apple-silicon"], |device| device["class"] == "apple-silicon"),
        (&["--min-memory", "80GiB"], |device| device["total_bytes"].as_u64().is_some_and(|bytes| bytes >= 80 << 30)),
        (&["--max-memory", "8GB"], |device| device["total_bytes"].as_u64().is_some_and(|bytes| bytes <= 8_000_000_000)),
        (&["--filter", "4090"], |device| device["id"].as_str().unwrap().contains("4090")),
    ];
    for (filter, holds) in checks {
        let selected = entries(&[&["gpus"], *filter].concat());
        let expected: Vec<&Value> = all.iter().filter(|device| holds(device)).collect();
        assert!(!selected.is_empty() && selected.len() < all.len(), "{filter:?}");
        assert_eq!(selected.iter().collect::<Vec<_>>(), expected, "{filter:?}");
    }
}

#[test]
fn lists_are_ordered_in_either_direction_with_unknown_values_last() {
    let keys: &[(&str, &str, &str)] = &[
        ("models", "name", "id"),
        ("models", "params", "parameters"),
        ("models", "released", "release"),
        ("models", "context", "context_length"),
        ("gpus", "name", "id"),
        ("gpus", "memory", "total_bytes"),
        ("gpus", "bandwidth", "bandwidth_gb_per_second"),
        ("gpus", "launched", "launch"),
        ("gpus", "price", "msrp_usd"),
    ];
    let above = |a: &Value, b: &Value| match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a > b,
        _ => a.as_str() > b.as_str(),
    };
    for (verb, sort, field) in keys {
        for reverse in [false, true] {
            let arguments: &[&str] = if reverse { &[verb, "--sort", sort, "--reverse"] } else { &[verb, "--sort", sort] };
            let values: Vec<Value> = entries(arguments).iter().map(|entry| entry[field].clone()).collect();
            for pair in values.windows(2) {
                let [a, b] = pair else { unreachable!("windows of two") };
                assert!(!a.is_null() || b.is_null(), "{arguments:?}: a value behind an unknown one");
                let wrong = if reverse { above(b, a) } else { above(a, b) };
                assert!(b.is_null() || !wrong, "{arguments:?}: {a} before {b}");
            }
        }
    }
}

#[test]
fn lists_and_entries_can_be_read_in_every_form() {
    let cases: &[&[&str]] = &[
        &["models"],
        &["models", "--fits-on", "rtx-4090", "--max-params", "3B"],
        &["models", "qwen3-30b-a3b"],
        &["gpus"],
        &["gpus", "rtx-3060-12gb"],
        &["engines"],
        &["engines", "vllm"],
        &["quant-formats"],
        &["quant-formats", "Q4_K_M"],
        &["glossary"],
        &["glossary", "kv-cache"],
    ];
    for case in cases {
        let object = answer(case);
        assert!(object["schema"].is_string() && object["data_version"].is_string(), "{case:?}");
        assert!(object["entries"].is_array() != object["entry"].is_object(), "{case:?}");
        let rows = csv_rows(case);
        assert!(!rows.is_empty(), "{case:?}");
        if let Some(entries) = object["entries"].as_array() {
            assert_eq!(rows.len(), entries.len(), "{case:?}");
        }
        let markdown = text(&[*case, &["--markdown"]].concat());
        for line in markdown.lines().filter(|line| line.starts_with('|')) {
            assert!(line.ends_with('|'), "{case:?}: {line}");
        }
        let shape = if *case == ["glossary", "kv-cache"] { "](#" } else { "|-" };
        assert!(markdown.contains(shape), "{case:?} has {shape}: {markdown}");
        let table = text(case);
        assert!(table.lines().count() > 3, "{case:?}");
        for printed in [&markdown, &table] {
            assert!(!printed.contains('\u{1b}'), "{case:?}: no colours where the output is no terminal");
            assert!(printed.lines().all(|line| line.trim_end() == line), "{case:?}: no trailing spaces");
        }
    }
    assert!(refused(&["models", "--json", "--csv"]).contains("cannot be used with"));
}

#[test]
fn csv_says_the_same_as_json() {
    for verb in ["models", "gpus"] {
        let entries = entries(&[verb]);
        for (row, entry) in csv_rows(&[verb]).iter().zip(&entries) {
            for (field, printed) in row {
                let expected = match &entry[field] {
                    Value::Null => String::new(),
                    Value::String(text) => text.clone(),
                    Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
                    Value::Number(number) if number.is_f64() => {
                        assert_eq!(printed.parse::<f64>().ok(), number.as_f64(), "{verb} {field}");
                        continue;
                    }
                    other => other.to_string(),
                };
                assert_eq!(*printed, expected, "{verb} {} {field}", entry["id"]);
            }
        }
    }
}

#[test]
fn what_does_not_exist_is_answered_with_what_does() {
    let cases: &[(&[&str], &str, &str)] = &[
        (&["models", "llama-3.1-9b"], "unknown_model", "llama-3.1-8b"),
        (&["gpus", "rtx-4091"], "unknown_hardware", "rtx-4090"),
        (&["engines", "vlm"], "unknown_engine", "vllm"),
        (&["quant-formats", "Q4_K_X"], "unknown_quant", "Q4_K_M"),
        (&["glossary", "kv-cach"], "unknown_term", "kv-cache"),
        (&["models", "--fits-on", "rtx-4091"], "unknown_hardware", "rtx-4090"),
        (&["models", "--family", "lama"], "invalid_value", "Llama"),
        (&["models", "--maker", "gogle"], "invalid_value", "Google"),
        (&["models", "--licence", "apache2"], "invalid_value", "`apache`"),
        (&["models", "--modality", "images"], "invalid_value", "image"),
        (&["models", "--class", "egde"], "invalid_value", "edge"),
        (&["models", "--sort", "contex"], "invalid_value", "context"),
        (&["models", "--min-params", "many"], "invalid_value", "70B"),
        (&["gpus", "--vendor", "nvidea"], "invalid_value", "NVIDIA"),
        (&["gpus", "--sort", "prize"], "invalid_value", "price"),
        (&["gpus", "--min-memory", "24"], "invalid_value", "24GiB"),
        (&["quant-formats", "--family", "ggml"], "invalid_value", "gguf"),
        (&["gpus", "rtx-4090", "--engine", "vlm"], "unknown_engine", ""),
        (&["models", "--filter", "no such model"], "invalid_value", "filter"),
    ];
    for (arguments, kind, suggestion) in cases {
        let message = refused(arguments);
        assert!(message.contains(&format!("error[{kind}]")), "{arguments:?}: {message}");
        assert!(message.contains(suggestion), "{arguments:?}: {message}");
    }
    // A context without a machine, and an id beside filters, are refused by the command line itself.
    for arguments in [
        &["models", "--context", "8k"][..],
        &["gpus", "--context", "8k"],
        &["models", "llama-3.1-8b", "--family", "Qwen3"],
        &["gpus", "rtx-4090", "--vendor", "amd"],
    ] {
        refused(arguments);
    }
}

#[test]
fn the_fit_table_agrees_with_fit() {
    // A small card, a laptop with shared memory, and a server card under another engine.
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("rtx-4090", &[], &["llama-3.1-8b", "qwen3-32b", "gemma-3-27b"]),
        ("rtx-3060-12gb", &["--context", "16k", "--concurrency", "2"], &["llama-3.1-8b", "qwen3-4b", "phi-4"]),
        ("macbook-pro-m5-max-128gb", &[], &["gpt-oss-120b", "llama-3.3-70b", "qwen3-30b-a3b"]),
        ("h100-sxm-80gb", &["--engine", "vllm"], &["llama-3.1-8b", "qwen3-32b", "mistral-small-3.2-24b"]),
    ];
    for (device, asked, sampled) in cases {
        let table = answer(&[&["gpus", device], *asked].concat());
        let rows = table["entry"]["fit"]["models"].as_array().expect("a fit table");
        assert!(rows.len() > 50, "{} models fit {device}", rows.len());
        let parameters: Vec<u64> = rows.iter().map(|row| row["parameters"].as_u64().unwrap()).collect();
        assert!(parameters.is_sorted_by(|a, b| a >= b), "the largest first");
        let listed = entries(&[&["models", "--fits-on", device], *asked].concat());
        assert_eq!(listed.len(), rows.len(), "{device}: models --fits-on lists the same");
        let mut compared = 0;
        for id in *sampled {
            let Some(row) = rows.iter().find(|row| row["id"] == *id) else {
                let fit = answer(&[&["fit", id, "--gpu", device], *asked].concat());
                assert!(fit["best_quant"].is_null(), "{id} on {device}: the fit table lacks it");
                continue;
            };
            let quant = row["best_quant"].as_str().unwrap();
            let fit = answer(&[&["fit", id, "--gpu", device, "--quant", quant], *asked].concat());
            assert_eq!(fit["verdict"], "fits", "{id} on {device}");
            assert_eq!(fit["best_quant"], row["best_quant"], "{id} on {device}");
            assert_eq!(fit["max_context"], row["max_context"], "{id} on {device}");
            assert_eq!(fit["weights_bytes"], row["weights_bytes"], "{id} on {device}");
            assert_eq!(fit["total_bytes"], row["total_bytes"], "{id} on {device}");
            let entry = listed.iter().find(|entry| entry["id"] == *id).expect("the same models");
            assert_eq!(entry["runs_as"]["max_context"], row["max_context"], "{id} on {device}");
            compared += 1;
        }
        assert!(compared >= 2, "{device}: only {compared} rows compared");
    }
}

#[test]
fn several_devices_hold_more_than_one() {
    let one = entries(&["models", "--fits-on", "rtx-3090"]);
    let two = entries(&["models", "--fits-on", "2x rtx-3090"]);
    let again = entries(&["models", "--fits-on", "rtx-3090", "--fits-on", "rtx-3090"]);
    assert_eq!(two, again);
    assert!(two.len() > one.len());
    assert!(ids(&two).contains(&"llama-3.3-70b") && !ids(&one).contains(&"llama-3.3-70b"));
}

#[test]
fn a_processor_needs_the_memory_of_its_host() {
    let cpu = entries(&["gpus", "--class", "cpu"]);
    let id = cpu.first().expect("a processor")["id"].as_str().unwrap().to_owned();
    assert!(answer(&["gpus", &id])["entry"]["fit"].is_null());
    assert!(text(&["gpus", &id]).contains("--host-memory"));
    assert!(!answer(&["gpus", &id, "--host-memory", "64GiB"])["entry"]["fit"]["models"].as_array().unwrap().is_empty());
}

#[test]
fn a_model_is_shown_whole() {
    let model = answer(&["models", "llama3.1:8b"])["entry"].clone();
    assert_eq!(model["id"], "llama-3.1-8b");
    // 2 × 32 layers × 8 heads × 128 values × 2 bytes.
    assert_eq!(model["kv_cache"]["bytes_per_token"], 131_072);
    assert_eq!(model["kv_cache"]["at"][0], json!({ "context": 8192, "kv_cache_bytes": 1_073_741_824_u64 }));
    assert_eq!(
        model["attention"],
        json!([{
            "layers": 32, "kind": "full attention", "detail": "GQA: 32 query heads, 8 KV heads of 128"
        }])
    );
    // llama.cpp (llama-cpp-sys-2 0.1.161), llama_model_quantize dry run.
    let q4 = model["sizes"].as_array().unwrap().iter().find(|size| size["quant"] == "Q4_K_M").expect("Q4_K_M").clone();
    assert_eq!(q4["weights_bytes"], 4_912_898_304_u64);
    for quant in ["FP8", "AWQ", "MLX-4bit-g64"] {
        assert!(model["sizes"].as_array().unwrap().iter().any(|size| size["quant"] == quant), "{quant}");
    }
    let printed = text(&["models", "llama-3.1-8b"]);
    for needed in ["131,072 bytes", "8,030,261,248", "equals the count", "(unverified)", "https://", "2026-"] {
        assert!(printed.contains(needed), "{needed} is missing from\n{printed}");
    }
    let mixed = answer(&["models", "gemma-3-27b"])["entry"]["attention"].clone();
    let layers: u64 = mixed.as_array().unwrap().iter().map(|group| group["layers"].as_u64().unwrap()).sum();
    assert!(mixed.as_array().unwrap().len() == 2 && layers == 62, "{mixed}");
}

#[test]
fn a_device_tells_nameplate_from_usable_memory() {
    let card = text(&["gpus", "rtx-4090"]);
    for needed in ["nameplate", "24.00 GiB", "nvidia-smi", "CUDA on Linux", "CUDA on Windows", "what sums use"] {
        assert!(card.contains(needed), "{needed} is missing from\n{card}");
    }
    let mac = text(&["gpus", "macbook-pro-m5-max-128gb"]);
    for needed in ["Metal, up to macOS 15", "Metal, from macOS 26", "what sums use"] {
        assert!(mac.contains(needed), "{needed} is missing from\n{mac}");
    }
}

#[test]
fn engines_formats_and_terms_are_shown_whole() {
    let vllm = text(&["engines", "v-llm"]);
    for needed in ["pick it when", "vllm serve", "pip install", "--gpu-memory-utilization", "Apache-2.0", "rules known of"] {
        assert!(vllm.contains(needed), "{needed} is missing from\n{vllm}");
    }
    // Every engine has a page, those without a record too.
    for engine in entries(&["engines"]) {
        text(&["engines", engine["name"].as_str().unwrap()]);
    }
    for format in entries(&["quant-formats"]) {
        text(&["quant-formats", format["id"].as_str().unwrap()]);
    }
    let q4 = text(&["quant-formats", "q4_k_m"]);
    for needed in ["small loss", "bits per weight", "perplexity", "kld_mean", "https://"] {
        assert!(q4.contains(needed), "{needed} is missing from\n{q4}");
    }
    let terms = entries(&["glossary"]);
    assert!(terms.len() >= 48, "{} terms", terms.len());
    for term in &terms {
        let page = answer(&["glossary", term["id"].as_str().unwrap()])["entry"].clone();
        assert_eq!(
            page["links"].as_array().unwrap().len(),
            term["see_also"].as_array().unwrap().len(),
            "{}: no dead link",
            term["id"]
        );
    }
    assert!(text(&["glossary", "Mixture of Experts"]).contains("active-parameters"));
}

#[test]
fn the_json_surface_takes_the_same_filters() {
    let pairs: &[(&str, Value, &[&str])] = &[
        ("models", json!({}), &["models"]),
        ("models", json!({"family": "llama", "max_params": "9B"}), &["models", "--family", "llama", "--max-params", "9B"]),
        (
            "models",
            json!({"max_params": 1_000_000_000, "sort": "params", "reverse": true}),
            &["models", "--max-params", "1B", "--sort", "params", "--reverse"],
        ),
        (
            "models",
            json!({"fits_on": ["2x rtx-3090"], "context": "32k", "min_params": "60B"}),
            &["models", "--fits-on", "2x rtx-3090", "--context", "32k", "--min-params", "60B"],
        ),
        ("models", json!({"id": "qwen3-8b"}), &["models", "qwen3-8b"]),
        (
            "gpus",
            json!({"vendor": "amd", "min_memory": "24GiB", "sort": "memory"}),
            &["gpus", "--vendor", "amd", "--min-memory", "24GiB", "--sort", "memory"],
        ),
        ("gpus", json!({"id": "rtx-3060-12gb", "context": 4096}), &["gpus", "rtx-3060-12gb", "--context", "4096"]),
        ("engines", json!({"filter": "metal"}), &["engines", "--filter", "metal"]),
        ("engines", json!({"id": "ollama"}), &["engines", "ollama"]),
        ("quant_formats", json!({"family": "mlx"}), &["quant-formats", "--family", "mlx"]),
        ("quant_formats", json!({"id": "AWQ"}), &["quant-formats", "AWQ"]),
        ("glossary", json!({"filter": "cache"}), &["glossary", "--filter", "cache"]),
        ("glossary", json!({"term": "MoE"}), &["glossary", "MoE"]),
    ];
    for (operation, request, arguments) in pairs {
        assert_eq!(call(operation, request), answer(arguments), "{operation} {request}");
    }
    let wrong: &[(&str, Value, &str, &str)] = &[
        ("models", json!({"famly": "llama"}), "unknown_field", "family"),
        ("models", json!({"vendor": "amd", "min_memroy": 1}), "unknown_field", ""),
        ("gpus", json!({"min_memroy": "24GiB"}), "unknown_field", "min_memory"),
        ("engines", json!({"filtr": "x"}), "unknown_field", "filter"),
        ("glossary", json!({"trem": "x"}), "unknown_field", "term"),
        ("models", json!({"reverse": "yes"}), "invalid_value", "true or false"),
        ("models", json!({"min_params": []}), "invalid_value", "min_params"),
        ("models", json!({"fits_on": 4090}), "invalid_value", "a list of devices"),
        ("models", json!({"context": 8192}), "missing_field", "fits_on"),
        ("models", json!({"id": "qwen3-8b", "family": "Qwen3"}), "contradiction", "id"),
        ("models", json!({"min_params": "9B", "max_params": "1B"}), "contradiction", "min_params"),
        ("gpus", json!({"context": 8192}), "missing_field", "id"),
        ("gpus", json!({"min_memory": "many"}), "invalid_value", "24GiB"),
        ("gpus", json!({"id": "rtx-4090", "safety": 2.0}), "out_of_range", "safety"),
        ("quant_formats", json!({"id": "Q4_K_X"}), "unknown_quant", "Q4_K_M"),
        ("glossary", json!({"term": "kv-cach"}), "unknown_term", "kv-cache"),
    ];
    for (operation, request, kind, hint) in wrong {
        let output = run_with_input(&["call", operation], &request.to_string());
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && output.stdout.is_empty(), "{operation} {request}");
        assert!(message.contains(&format!("error[{kind}]")) && message.contains(hint), "{operation} {request}: {message}");
    }
}
