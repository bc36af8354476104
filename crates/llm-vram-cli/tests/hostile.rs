//! The command on files and arguments that are wrong: a code, a status, nothing on standard output, at once.
#![allow(clippy::panic, clippy::expect_used, clippy::unwrap_used)]

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use llm_vram_core::ErrorKind;
use llm_vram_tests::hostile::{self, Input};

/// No wrong input may take longer than this, the start of the process included.
const AT_MOST: Duration = Duration::from_secs(1);

const VERBS: &[&[&str]] = &[&["inspect"], &["estimate"], &["can-i-run", "--gpu", "rtx-4090"]];

/// A folder of its own that goes when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("llm-vram-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    /// A file of these bytes; with `length`, as long as that (the rest is a hole).
    fn file(&self, name: &str, bytes: &[u8], length: Option<u64>) -> PathBuf {
        let path = self.0.join(name);
        let mut file = fs::File::create(&path).expect("a file");
        file.write_all(bytes).expect("room");
        if let Some(length) = length {
            file.set_len(length).expect("a length");
        }
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn run(arguments: &[&str], input: &str) -> (Output, Duration) {
    let start = Instant::now();
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
    (child.wait_with_output().expect("the command ends"), start.elapsed())
}

/// What is wrong with how the command refused, if anything; the code that it gave otherwise.
fn refusal(arguments: &[&str], input: &str) -> Result<String, String> {
    let (output, mut elapsed) = run(arguments, input);
    if elapsed > AT_MOST {
        // A busy machine is no slow refusal.
        elapsed = elapsed.min(run(arguments, input).1);
    }
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let code = stderr.strip_prefix("error[").and_then(|rest| rest.split_once(']')).map(|(code, _)| code.to_owned());
    let stable = code.as_deref().is_some_and(|code| ErrorKind::ALL.iter().any(|kind| kind.code() == code));
    let shown: String = stderr.chars().take(300).collect();
    match () {
        () if !matches!(output.status.code(), Some(1 | 2)) => Err(format!("ends with {}: {shown}", output.status)),
        () if !output.stdout.is_empty() => Err(format!("prints {} bytes", output.stdout.len())),
        () if !stable => Err(format!("has no stable code: {shown}")),
        () if elapsed > AT_MOST => Err(format!("takes {elapsed:?}")),
        () if stderr.len() > 4096 => Err(format!("says {} bytes", stderr.len())),
        () => Ok(code.unwrap_or_default()),
    }
}

/// Every verb that reads files, on one file.
fn refused_by_every_verb(name: &str, path: &Path, off: &mut Vec<String>) -> Vec<String> {
    let path = path.to_str().expect("UTF-8");
    let mut codes = Vec::new();
    for verb in VERBS {
        let mut arguments = verb.to_vec();
        arguments.insert(1, path);
        match refusal(&arguments, "") {
            Ok(code) => codes.push(code),
            Err(fault) => off.push(format!("{name}: {} {fault}", verb[0])),
        }
    }
    codes
}

#[test]
fn hostile_headers() {
    let folder = Folder::new("headers");
    let cases = hostile::cases();
    let mut off = Vec::new();
    let mut same_code = 0;
    for (number, (name, input, kind)) in cases.iter().enumerate() {
        let (path, exact) = match input {
            Input::GgufFile(bytes) => (folder.file(&format!("{number}.gguf"), bytes, None), true),
            // A hole stands for the weights, so that the file is refused for what its header says.
            Input::Gguf(bytes) => (folder.file(&format!("{number}.gguf"), bytes, Some(1 << 36)), true),
            Input::SafetensorsFile(bytes) => (folder.file(&format!("{number}.safetensors"), bytes, None), true),
            Input::Safetensors(bytes) => (folder.file(&format!("{number}.safetensors"), bytes, None), false),
            Input::Index(text) => (folder.file("model.safetensors.index.json", text.as_bytes(), None), false),
        };
        let codes = refused_by_every_verb(name, &path, &mut off);
        if exact && codes.iter().all(|code| code == kind.code()) {
            same_code += 1;
        }
        fs::remove_file(&path).expect("the file goes");
    }
    println!("{} hostile headers refused by {} verbs, {same_code} with the code of the library", cases.len(), VERBS.len());
    assert!(off.is_empty(), "{}", off.join("\n"));
    assert!(cases.len() >= 165);
}

/// A config that is right, for the others to be changed from.
const CONFIG: &[(&str, &str)] = &[
    ("model_type", r#""llama""#),
    ("hidden_size", "4096"),
    ("intermediate_size", "14336"),
    ("num_hidden_layers", "32"),
    ("num_attention_heads", "32"),
    ("num_key_value_heads", "8"),
    ("vocab_size", "128256"),
    ("max_position_embeddings", "131072"),
];

fn config(changed: &str, value: &str) -> String {
    let known = CONFIG.iter().any(|(key, _)| *key == changed);
    let fields = CONFIG.iter().map(|&(key, usual)| (key, if key == changed { value } else { usual }));
    let added = (!known && !changed.is_empty()).then_some((changed, value));
    let fields: Vec<String> = fields.chain(added).map(|(key, value)| format!(r#""{key}": {value}"#)).collect();
    format!("{{{}}}", fields.join(", "))
}

#[test]
fn hostile_configs() {
    let folder = Folder::new("configs");
    let good = folder.file("config.json", config("", "").as_bytes(), None);
    let (output, _) = run(&["estimate", good.to_str().unwrap()], "");
    assert!(output.status.success(), "the config that the others are made from");

    let counts =
        ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "vocab_size"];
    let values = ["-1", "4294967296", "1e300", "NaN", "1.5", r#""many""#, "{}", "18446744073709551616"];
    let mut texts: Vec<(String, String)> = Vec::new();
    for field in counts {
        texts.extend(values.iter().map(|value| (format!("{field} {value}"), config(field, value))));
    }
    texts.push(("0 layers".into(), config("num_hidden_layers", "0")));
    texts.push(("hidden size 0".into(), config("hidden_size", "0")));
    texts.push(("0 heads".into(), config("num_attention_heads", "0")));
    texts.push(("vocabulary 0".into(), config("vocab_size", "0")));
    texts.push(("3 key-value heads of 32".into(), config("num_key_value_heads", "3")));
    texts.push(("64 key-value heads of 32".into(), config("num_key_value_heads", "64")));
    texts.push(("context -1".into(), config("max_position_embeddings", "-1")));
    texts.push(("head size 2^20".into(), config("head_dim", "1048576")));
    texts.push(("a type that is a number".into(), config("model_type", "7")));
    texts.push(("no type".into(), r#"{"hidden_size": 4096}"#.into()));
    texts.push(("layers that multiply beyond every bound".into(), {
        let wide = config("hidden_size", "1048576").replace("14336", "4194304");
        wide.replace(r#""num_hidden_layers": 32"#, r#""num_hidden_layers": 4096"#)
    }));
    texts.push(("a list".into(), "[1, 2]".into()));
    texts.push(("cut".into(), r#"{"model_type": "llama", "hidden_size": 40"#.into()));
    texts.push(("nested 100,000 deep".into(), format!(r#"{{"model_type": "llama", "x": {}"#, "[".repeat(100_000))));
    texts.push(("a field twice".into(), r#"{"model_type": "llama", "model_type": "qwen2"}"#.into()));
    let mut off = Vec::new();
    for (name, text) in &texts {
        let path = folder.file("config.json", text.as_bytes(), None);
        refused_by_every_verb(name, &path, &mut off);
    }
    println!("{} hostile configs refused by {} verbs", texts.len(), VERBS.len());
    assert!(off.is_empty(), "{}", off.join("\n"));
}

#[test]
fn what_is_no_model_file() {
    let folder = Folder::new("others");
    let mut off = Vec::new();
    let cases = [
        ("an empty file", folder.file("empty.gguf", b"", None)),
        ("an empty config", folder.file("empty.json", b"", None)),
        ("an empty safetensors file", folder.file("empty.safetensors", b"", None)),
        ("bytes that are no UTF-8", folder.file("config.json", b"{\"model_type\": \"\xff\xfe\"}", None)),
        ("zeros", folder.file("zeros.gguf", b"", Some(1 << 36))),
        ("text", folder.file("text.gguf", b"hello", None)),
        ("a config of 64 GiB", folder.file("large.json", b"{", Some(1 << 36))),
        ("part 1 of 99,999", folder.file("a-00001-of-99999.gguf", &hostile::good().bytes(), None)),
        ("an empty folder", {
            fs::create_dir_all(folder.0.join("sub")).unwrap();
            folder.0.join("sub")
        }),
        ("a file that is not there", folder.0.join("absent.gguf")),
        ("the null device", PathBuf::from("/dev/null")),
        ("an endless device", PathBuf::from("/dev/zero")),
    ];
    for (name, path) in &cases {
        if path.starts_with("/dev") && !path.exists() {
            continue;
        }
        refused_by_every_verb(name, path, &mut off);
        let path = path.to_str().unwrap();
        for option in ["--gguf", "--safetensors", "--config"] {
            if let Err(fault) = refusal(&["estimate", option, path], "") {
                off.push(format!("{name}: {option} {fault}"));
            }
        }
    }
    println!("{} paths that are no model refused, as argument and by each option", cases.len());
    assert!(off.is_empty(), "{}", off.join("\n"));
}

/// Options that take a number, each with values that it cannot have.
const NUMERIC: &[(&str, &[&str])] = &[
    ("--context", &["0", "-1", "134217729", "99999999999999999999", "nan", "1e400", "", "8kk"]),
    ("--concurrency", &["0", "-1", "65537", "99999999999999999999", "nan", "1.5", ""]),
    ("--batch-size", &["0", "-1", "1048577", "99999999999999999999", "nan"]),
    ("--ubatch-size", &["0", "-1", "1048577", "99999999999999999999", "nan"]),
    ("--gpu-layers", &["-1", "1048577", "99999999999999999999", "nan"]),
    ("--n-cpu-moe", &["-1", "1048577", "99999999999999999999", "nan"]),
    ("--tensor-split", &["-1", "nan", "inf", "1,-1", "1,nan", "1e400", "a,b", ""]),
    ("--gpu-memory-utilization", &["0", "-1", "1.01", "nan", "inf", "1e400", ""]),
    ("--max-num-seqs", &["0", "-1", "1048577", "nan"]),
    ("--max-num-batched-tokens", &["0", "-1", "16777217", "nan"]),
    ("--tensor-parallel-size", &["0", "-1", "4097", "nan"]),
    ("--pipeline-parallel-size", &["0", "-1", "4097", "nan"]),
    ("--block-size", &["0", "-1", "65537", "nan"]),
    ("--safety", &["-0.1", "1", "2", "nan", "inf", "-inf", "1e400", ""]),
    ("--memory", &["0", "-1GiB", "1B", "nanGiB", "infGiB", "1e400GiB", "99999999999999999999TiB", "24", "GiB", ""]),
    ("--host-memory", &["0", "-1GiB", "nanGiB", "99999999999999999999TiB", "64", ""]),
    ("--quant", &["", "Q4", "4bit", "NaN", "Q4_K_M;rm"]),
    ("--gpu", &["", "0x rtx-4090", "-1x rtx-4090", "4097x rtx-4090", "99999999999x rtx-4090", "x", "2x"]),
    ("--engine", &["", "llama", "vlllm"]),
    ("--engine-version", &["", "latest", "NaN"]),
    ("--cache-type-k", &["", "q9_0", "nan"]),
    ("--cache-type-v", &["", "q9_0", "nan"]),
];

#[test]
fn arguments_that_no_option_takes() {
    let mut off = Vec::new();
    let mut count = 0;
    for (option, values) in NUMERIC {
        for value in *values {
            let argument = format!("{option}={value}");
            let mut arguments = vec!["fit", "llama-3.1-8b", &argument];
            if !matches!(*option, "--gpu" | "--memory") {
                arguments.push("--gpu=rtx-4090");
            }
            count += 1;
            if let Err(fault) = refusal(&arguments, "") {
                off.push(format!("{argument}: {fault}"));
            }
        }
    }
    for (params, bits) in
        [("0", "4"), ("-7B", "4"), ("nan", "4"), ("1e30", "4"), ("7B", "0"), ("7B", "-4"), ("7B", "nan"), ("7B", "1e9"), ("7B", "")]
    {
        count += 1;
        if let Err(fault) = refusal(&["estimate", &format!("--params={params}"), &format!("--bits={bits}")], "") {
            off.push(format!("--params={params} --bits={bits}: {fault}"));
        }
    }
    println!("{count} values that an option cannot have refused");
    assert!(off.is_empty(), "{}", off.join("\n"));
}

#[test]
fn arguments_that_exclude_each_other() {
    let cases: &[&[&str]] = &[
        &["estimate"],
        &["estimate", "llama-3.1-8b", "--model", "qwen3-8b"],
        &["estimate", "llama-3.1-8b", "--params", "7B"],
        &["estimate", "llama-3.1-8b", "--bits", "4"],
        &["estimate", "llama-3.1-8b", "--config", "/dev/null"],
        &["fit", "llama-3.1-8b", "--gpu", "rtx-4090", "--memory", "24GiB"],
        &["fit", "llama-3.1-8b"],
        &["can-i-run", "llama-3.1-8b", "--gpu", "rtx-4090", "--engine", "vllm", "--quant", "Q9_K"],
        &["fit", "llama-3.1-8b", "--gpu", "rtx-4090", "--engine", "vllm", "--tensor-parallel-size", "8"],
        &["fit", "llama-3.1-8b", "--gpu", "rtx-4090", "--cache-type-v", "q8_0", "--flash-attn", "off"],
        &["fit", "llama-3.1-8b", "--gpu", "rtx-4090", "--no-such-flag"],
        &["fit", "llama-3.1-8b", "--gpu"],
        &["no-such-verb"],
        &["inspect"],
        &["call", "no-such-operation"],
    ];
    let off: Vec<String> = cases
        .iter()
        .filter_map(|arguments| refusal(arguments, "{}").err().map(|fault| format!("{arguments:?}: {fault}")))
        .collect();
    println!("{} contradictions refused", cases.len());
    assert!(off.is_empty(), "{}", off.join("\n"));
}

/// Every field of a request with values of every other form.
#[test]
fn requests_with_fields_of_the_wrong_form() {
    let texts = ["model", "quant", "engine", "engine_version", "kv_cache_type_k", "kv_cache_type_v", "defaults", "flash_attn"];
    let counts = [
        "params",
        "context",
        "concurrency",
        "n_batch",
        "n_ubatch",
        "n_gpu_layers",
        "n_cpu_moe",
        "n_outputs_max",
        "max_num_seqs",
        "max_num_batched_tokens",
        "tensor_parallel_size",
        "pipeline_parallel_size",
        "block_size",
        "max_kv_size",
        "prefill_step_size",
    ];
    let numbers = ["bits", "safety", "bandwidth", "gpu_memory_utilization"];
    let flags = [
        "imatrix",
        "kv_unified",
        "swa_full",
        "offload_kqv",
        "enable_expert_parallel",
        "enforce_eager",
        "enable_prefix_caching",
        "disable_hybrid_kv_cache_manager",
    ];
    let files = ["gguf", "safetensors", "config"];
    let lists = ["hardware", "tensor_split"];
    let memories = ["memory", "host_memory"];
    let wrong: [(&[&str], &[&str]); 7] = [
        (&texts, &["7", "-1.5", "true", "[]", "{}", r#""""#]),
        (&counts, &["-1", "1.5", "1e300", "18446744073709551616", "true", "[8]", "{}", r#""many""#, r#""""#]),
        (&numbers, &["-1", "1e300", "true", "[1]", "{}", r#""x""#, r#""nan""#]),
        (&flags, &["1", r#""on""#, "[]", "{}"]),
        (&files, &["7", "true", "[]", r#""""#, r#""/dev/null""#]),
        (&lists, &["7", "true", "{}", "[true]", "[{}]", r#"["x", -1]"#, "[-1]"]),
        (&memories, &["-1", "0", "1.5", "true", "[]", "{}", r#""24""#, r#""nanGiB""#, "1e300"]),
    ];
    let mut off = Vec::new();
    let mut count = 0;
    for (fields, values) in wrong {
        for field in fields {
            for value in values {
                let model = if matches!(*field, "model" | "params" | "bits" | "gguf" | "safetensors" | "config") {
                    ""
                } else {
                    r#", "model": "llama-3.1-8b""#
                };
                let request = format!(r#"{{"{field}": {value}{model}}}"#);
                count += 1;
                match refusal(&["call", "estimate"], &request) {
                    Ok(code) if code == "unknown_field" => off.push(format!("{request}: the field is unknown")),
                    Ok(_) => {}
                    Err(fault) => off.push(format!("{request}: {fault}")),
                }
            }
        }
    }
    for request in
        ["", "null", "7", "[]", "{", "{}", "\u{0}", r#"{"model": "llama-3.1-8b"} x"#, r#"{"model": "llama-3.1-8b", "model": 7}"#]
    {
        count += 1;
        if let Err(fault) = refusal(&["call", "estimate"], request) {
            off.push(format!("{request}: {fault}"));
        }
    }
    let deep = format!(r#"{{"model": {}"#, "[".repeat(100_000));
    off.extend(refusal(&["call", "estimate"], &deep).err());
    println!("{count} requests refused");
    assert!(off.is_empty(), "{}", off.join("\n"));
}
