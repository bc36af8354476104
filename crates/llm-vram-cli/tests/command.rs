//! The command as a user runs it: exit status, standard output, standard error.

#![allow(clippy::panic, clippy::expect_used, clippy::unwrap_used)]

use std::{
    fs,
    io::Write,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use llm_vram_core::input::{self, InputKind, gguf, safetensors};
use serde_json::Value;

fn run(arguments: &[&str]) -> Output {
    run_with_input(arguments, "")
}

fn run_with_input(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_llm-vram"))
        .args(arguments)
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    // A command that needs no input may have closed the pipe already.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    child.wait_with_output().expect("the command ends")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

fn json(arguments: &[&str]) -> Value {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{arguments:?} prints JSON and nothing else: {error}"))
}

fn fixture(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures").join(name);
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn the_main_question_is_answered_in_a_sentence_and_a_table() {
    let output = run(&["can-i-run", "llama-3.1-8b", "--gpu", "rtx-4090"]);
    let text = stdout(&output);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(text.starts_with("Yes: Llama 3.1 8B"), "{text}");
    for needed in ["Q4_K_M", "Q8_0", "GB", "fits"] {
        assert!(text.contains(needed), "{needed} is missing from\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "no colours where the output is no terminal");
}

#[test]
fn every_verb_prints_json_and_nothing_else() {
    let device = ["--gpu", "rtx-4090", "--json"];
    for verb in ["can-i-run", "estimate", "fit", "quants"] {
        let mut arguments = vec![verb, "qwen3-8b"];
        arguments.extend(device);
        assert!(json(&arguments).is_object(), "{verb}");
    }
    for arguments in
        [vec!["budget", "--gpu", "rtx-4090", "--json"], vec!["models", "--json"], vec!["gpus", "--json"], vec!["engines", "--json"]]
    {
        assert!(json(&arguments).is_object(), "{arguments:?}");
    }
}

#[test]
fn an_estimate_names_every_field_of_the_contract() {
    let answer = json(&["estimate", "llama-3.1-8b", "--quant", "Q4_K_M", "--context", "8k", "--json"]);
    for field in [
        "schema",
        "data_version",
        "model",
        "quant",
        "bits_per_weight",
        "engine",
        "workload",
        "weights_bytes",
        "kv_cache_bytes",
        "recurrent_state_bytes",
        "compute_buffer_bytes",
        "overhead_bytes",
        "total_bytes",
        "host_bytes",
        "devices",
        "ranges",
        "derivation",
        "warnings",
    ] {
        assert!(answer.get(field).is_some(), "{field} is missing");
    }
    // llama.cpp (llama-cpp-sys-2 0.1.161), llama_model_quantize dry run, and its own allocation at 8,192 cells.
    assert_eq!(answer["weights_bytes"], 4_912_898_304_u64);
    assert_eq!(answer["kv_cache_bytes"], 1_073_741_824_u64);
    assert_eq!(answer["workload"]["context"], 8192);
    let derivation = answer["derivation"].as_array().expect("a list");
    assert!(!derivation.is_empty());
    for step in derivation {
        for field in ["id", "label", "formula", "inputs", "result", "unit", "source", "assumption"] {
            assert!(step.get(field).is_some(), "{field} is missing from {step}");
        }
    }
}

#[test]
fn a_fit_shows_the_budget_equation() {
    let answer = json(&["fit", "llama-3.1-8b", "--gpu", "rtx-4090", "--json"]);
    let budget = &answer["budget"];
    let term = |name: &str| budget[name].as_i64().unwrap_or_else(|| panic!("{name} is missing"));
    assert_eq!(
        term("weights_bytes"),
        term("total_bytes") - term("safety_bytes") - term("kv_cache_bytes") - term("overhead_bytes"),
        "the equation holds as printed"
    );
    assert_eq!(answer["verdict"], "fits");
    let text = stdout(&run(&["fit", "llama-3.1-8b", "--gpu", "rtx-4090"]));
    for term in ["total_vram", "safety", "kv_cache × concurrency", "framework_overhead", "budget for weights"] {
        assert!(text.contains(term), "{term} is missing from\n{text}");
    }
}

#[test]
fn the_parts_of_every_device_add_up() {
    let answer = json(&["estimate", "qwen3-30b-a3b", "--gpu", "2x rtx-3090", "--json"]);
    let mut total = 0;
    for device in answer["devices"].as_array().expect("a list") {
        let part = |name: &str| device[name].as_i64().unwrap_or_else(|| panic!("{name} is missing"));
        let parts = ["weights_bytes", "kv_cache_bytes", "recurrent_state_bytes", "compute_buffer_bytes", "overhead_bytes"];
        assert_eq!(part("used_bytes"), parts.into_iter().map(part).sum::<i64>());
        total += part("used_bytes");
    }
    assert_eq!(answer["total_bytes"].as_i64(), Some(total));
    assert_eq!(answer["devices"].as_array().map(Vec::len), Some(2));
}

#[test]
fn the_nominal_grid_reads_as_the_six_chapters_have_it() {
    let answer = json(&["quants", "--params", "70B", "--json"]);
    let nominal = |name: &str| {
        let row = answer["quants"].as_array().expect("a list").iter().find(|row| row["quant"] == name);
        row.unwrap_or_else(|| panic!("{name} is missing"))["nominal_bytes"].as_u64().expect("a number")
    };
    assert_eq!(nominal("F16"), 140_000_000_000);
    assert_eq!(nominal("FP8"), 70_000_000_000);
    assert_eq!(nominal("INT8"), 70_000_000_000);
    assert_eq!(nominal("Q8_0"), 74_375_000_000);
    assert_eq!(nominal("Q5_K_M"), 48_125_000_000);
    assert_eq!(nominal("Q4_K_M"), 39_375_000_000);
    assert_eq!(nominal("Q3_K_M"), 30_625_000_000);
}

/// The fixtures are headers only; a file as long as its header announces stands for the downloaded one.
fn whole_files(names: &[&str]) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("llm-vram-command-{}-{}", std::process::id(), names.len()));
    fs::create_dir_all(&folder).expect("a folder");
    for name in names {
        let header = fs::read(fixture(name)).expect("a fixture");
        let length = match input::detect(&header) {
            InputKind::Gguf => gguf::read(&header).expect("a header").expected_file_bytes().get(),
            InputKind::SafetensorsHeader => safetensors::read(&header).expect("a header").expected_file_bytes().get(),
            _ => header.len() as u64,
        };
        fs::write(folder.join(name), &header).expect("a file");
        fs::OpenOptions::new().write(true).open(folder.join(name)).expect("a file").set_len(length).expect("a length");
    }
    folder
}

#[test]
fn files_stand_in_place_of_a_name() {
    let names = [
        "llama-v3-le.gguf",
        "llama-v3-be.gguf",
        "llama-v2-le.gguf",
        "split-00001-of-00003.gguf",
        "split-00002-of-00003.gguf",
        "split-00003-of-00003.gguf",
        "single.safetensors",
        "model.safetensors.index.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ];
    let folder = whole_files(&names);
    let at = |name: &str| folder.join(name).to_str().expect("UTF-8").to_owned();
    for name in &names[..5] {
        let answer = json(&["estimate", &at(name), "--json"]);
        assert_eq!(answer["model"]["basis"], "file", "{name}");
        assert!(answer["weights_bytes"].as_u64() > Some(0), "{name}");
    }
    for name in [names[0], names[4], "single.safetensors", "model.safetensors.index.json"] {
        let answer = json(&["inspect", &at(name), "--json"]);
        assert!(answer["tensor_count"].as_u64() > Some(0), "{name}");
    }
    let config = folder.join("config.json");
    fs::write(
        &config,
        r#"{"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "rope_scaling": {"rope_type": "llama3"}}"#,
    )
    .expect("a file");
    let answer = json(&["estimate", config.to_str().expect("UTF-8"), "--json"]);
    assert_eq!(answer["weights_bytes"], 4_912_898_304_u64, "a config gives the same sum as the catalog");
    fs::remove_dir_all(&folder).expect("the folder goes");
}

/// What was typed wrongly ends with status 2, what is wrong with the input with status 1; both print nothing on standard
/// output and a stable code on standard error.
#[test]
fn mistakes_get_a_code_a_status_and_no_output() {
    let missing = fixture("no-such-file.gguf");
    let cases: &[(&[&str], i32, &str)] = &[
        (&["estimate", "llama-3.1-8c"], 2, "unknown_model"),
        (&["estimate", "llama-3.1-8b", "--gpu", "rtx-4091"], 2, "unknown_hardware"),
        (&["estimate", "llama-3.1-8b", "--quant", "Q4_K_XXL"], 2, "unknown_quant"),
        (&["estimate", "llama-3.1-8b", "--engine", "llama.ccp"], 2, "unknown_engine"),
        (&["estimate", "llama-3.1-8b", "--context", "0"], 2, "out_of_range"),
        (&["estimate", "llama-3.1-8b", "--context", "999999999999"], 2, "out_of_range"),
        (&["estimate", "llama-3.1-8b", "--context", "many"], 2, "invalid_value"),
        (&["estimate", "llama-3.1-8b", "--concurrency", "0"], 2, "out_of_range"),
        (&["fit", "llama-3.1-8b", "--memory", "24"], 2, "invalid_value"),
        (&["fit", "llama-3.1-8b", "--memory", "24GiB", "--safety", "1.5"], 2, "out_of_range"),
        (&["fit", "llama-3.1-8b", "--memory", "24GiB", "--safety", "nan"], 2, "out_of_range"),
        (&["fit", "llama-3.1-8b"], 1, "missing_field"),
        (&["quants", "--params", "0"], 2, "out_of_range"),
        (&["quants", "--params", "-7B"], 2, ""),
        (&["estimate", &missing], 1, "missing_field"),
        (&["inspect", &missing], 1, "missing_field"),
        (&["estimate", "llama-3.1-8b", "--gpu", "0x rtx-4090"], 2, "out_of_range"),
        (&["estimate", "llama-3.1-8b", "--gpu", "99999999x rtx-4090"], 2, "out_of_range"),
        (&["call", "estimat"], 2, "unknown_operation"),
        (&["no-such-verb"], 2, ""),
    ];
    for (arguments, status, code) in cases {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(*status), "{arguments:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "{arguments:?} printed {}", stdout(&output));
        if !code.is_empty() {
            assert!(stderr(&output).starts_with(&format!("error[{code}]")), "{arguments:?}: {}", stderr(&output));
        }
    }
}

#[test]
fn wrong_names_get_the_nearest_right_ones() {
    let text = stderr(&run(&["estimate", "llama-3.1-8c"]));
    assert!(text.contains("llama-3.1-8b"), "{text}");
    let text = stderr(&run(&["estimate", "llama-3.1-8b", "--gpu", "rtx-4091"]));
    assert!(text.contains("rtx-4090"), "{text}");
}

#[test]
fn call_answers_requests_and_refuses_unknown_fields() {
    let request = r#"{"model": "llama-3.1-8b", "context": "8k", "quant": "Q4_K_M"}"#;
    let output = run_with_input(&["call", "estimate"], request);
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(answer["weights_bytes"], 4_912_898_304_u64);
    for (request, code) in [
        (r#"{"model": "llama-3.1-8b", "contxt": 8192}"#, "unknown_field"),
        (r#"{"model": "llama-3.1-8b", "context": -1}"#, "invalid_value"),
        (r#"{"model": "llama-3.1-8b", "context": 0}"#, "out_of_range"),
        (r#"{"model": 7}"#, "invalid_value"),
        ("[]", "malformed"),
        ("{", "malformed"),
        ("", "malformed"),
        (r#"{"model": "llama-3.1-8b", "params": 7}"#, "contradiction"),
        ("{}", "missing_field"),
    ] {
        let output = run_with_input(&["call", "estimate"], request);
        assert!(output.stdout.is_empty(), "{request}");
        assert!(stderr(&output).contains(&format!("error[{code}]")), "{request}: {}", stderr(&output));
    }
}

#[test]
fn completions_and_the_manual_page_come_from_the_arguments() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(stdout(&run(&["completions", shell])).contains("can-i-run"), "{shell}");
    }
    assert!(stdout(&run(&["man"])).contains("llm\\-vram"));
}

#[test]
fn a_closed_pipe_ends_the_command_quietly() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_llm-vram"))
        .args(["models"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("the command ends");
    assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
}
