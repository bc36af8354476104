//! Types and bytes of every tensor at every file type against what llama-quantize itself answers.

use std::collections::BTreeMap;

use llm_vram_core::{
    ErrorKind,
    quant::{FileType, QuantTarget, Recipe, WeightTally},
};
use llm_vram_tests::{Row, records, tsv};

fn recipes(file: &str) -> BTreeMap<String, Recipe> {
    records(file).into_iter().map(|(id, record)| (id, Recipe::new(&record.model()))).collect()
}

fn target(row: &Row, imatrix: bool) -> QuantTarget {
    let file_type: FileType = row.text("file_type").parse().unwrap_or_else(|error| panic!("{}: {error}", row.place()));
    QuantTarget::new(file_type).imatrix(imatrix)
}

fn histogram(tally: &WeightTally) -> String {
    let mut types: Vec<String> = tally
        .by_type()
        .map(|(ty, of_type)| format!("{}:{}:{}:{}", ty.name(), of_type.tensors, of_type.elements, of_type.bytes))
        .collect();
    types.sort_unstable();
    types.join(" ")
}

/// What differs between a row and the recipe; nothing if they agree.
fn difference(row: &Row, recipe: &Recipe, imatrix: bool) -> Option<String> {
    let place = format!("{} (imatrix {imatrix})", row.place());
    let answer = recipe.sizes(target(row, imatrix));
    if row.text("bytes") == "refused" {
        return match answer {
            Err(error) if error.kind() == ErrorKind::EngineRefuses => None,
            other => Some(format!("{place}: the engine refuses, the recipe answers {other:?}")),
        };
    }
    let tally = match answer {
        Ok(tally) => tally,
        Err(error) => return Some(format!("{place}: {error}")),
    };
    // Where one row stands for both, the need is that without a matrix; with one the engine never reports it.
    let needs_imatrix = if imatrix { 0 } else { row.number("needs_imatrix") };
    let expected = [row.number("bytes"), row.number("padded_bytes"), row.number("n_fallback"), needs_imatrix];
    let found = [tally.bytes.get(), tally.padded_bytes.get(), tally.n_fallback, u64::from(tally.needs_imatrix)];
    let types = histogram(&tally);
    let agrees = expected == found && types == row.text("types");
    (!agrees).then(|| format!("{place}: expected {expected:?} {}, found {found:?} {types}", row.text("types")))
}

#[test]
fn file_types_of_full_size_models() {
    let recipes = recipes("models.jsonl");
    let (mut sizes, mut refusals, mut off) = (0, 0, Vec::new());
    for row in tsv("quant_sizes.tsv") {
        let recipe = recipes.get(row.text("model")).unwrap_or_else(|| panic!("{}: unknown model", row.place()));
        let imatrix: &[bool] = match row.text("imatrix") {
            "0" => &[false],
            "1" => &[true],
            _ => &[false, true],
        };
        for &imatrix in imatrix {
            if row.text("bytes") == "refused" {
                refusals += 1
            } else {
                sizes += 1
            }
            off.extend(difference(&row, recipe, imatrix));
        }
    }
    println!("llama_model_quantize: {sizes} rows and {refusals} refusals, {} off", off.len());
    assert_eq!((sizes, refusals), (4328, 12), "quant_sizes.tsv has lost rows");
    assert!(off.is_empty(), "{}", off.join("\n"));
}

#[test]
fn types_of_the_type_chooser() {
    let recipes = recipes("quant_golden_models.jsonl");
    let (mut rows, mut off) = (0, Vec::new());
    for row in tsv("quant_golden.tsv") {
        rows += 1;
        let recipe = recipes.get(row.text("model")).unwrap_or_else(|| panic!("{}: unknown model", row.place()));
        let answer = recipe.sizes(target(&row, row.text("imatrix") == "1"));
        let found = match &answer {
            Ok(tally) => {
                let types = tally.by_type().map(|(ty, of_type)| format!("{}:{}", ty.name(), of_type.tensors));
                let mut types: Vec<String> = types.collect();
                types.sort_unstable();
                (tally.padded_bytes.get().to_string(), types.join(" "))
            }
            Err(error) if error.kind() == ErrorKind::EngineRefuses => (String::from("refused"), String::new()),
            Err(error) => (error.to_string(), String::new()),
        };
        if (found.0.as_str(), found.1.as_str()) != (row.text("padded_bytes"), row.text("tensors_by_type")) {
            off.push(format!("{}: {found:?}", row.place()));
        }
    }
    println!("llama_quant_compute_types: {rows} rows, {} off", off.len());
    assert_eq!(rows, 520, "quant_golden.tsv has lost rows");
    assert!(off.is_empty(), "{}", off.join("\n"));
}

#[test]
fn single_tensors_add_up_to_the_sums() {
    let mut compared = 0;
    for (id, recipe) in recipes("models.jsonl") {
        for &file_type in FileType::ALL {
            let Ok(tally) = recipe.sizes(file_type) else { continue };
            let bytes: u64 = recipe
                .tensors(file_type)
                .enumerate()
                .map(|(index, item)| {
                    let (choice, bytes) = item.unwrap_or_else(|error| panic!("{id} {file_type}: {error}"));
                    assert_eq!(recipe.type_of(index, file_type).map(|choice| choice.ty), Ok(choice.ty));
                    assert_eq!(recipe.bytes_of(index, file_type), Ok(bytes));
                    bytes.get()
                })
                .sum();
            assert_eq!(bytes, tally.bytes.get(), "{id} {file_type}");
            compared += 1;
        }
    }
    println!("{compared} models and file types: tensor by tensor as in the sums");
    assert_eq!(compared, 2164);
}

/// Metadata and tokenizer of a real file, in bytes.
const HEADER_BYTES: std::ops::RangeInclusive<u64> = 1_000_000..=25_000_000;

/// Whether a target's tensors and a header amount to a size that was printed for a file.
fn admits(row: &Row, recipe: &Recipe, target: QuantTarget) -> bool {
    [false, true].into_iter().any(|imatrix| {
        recipe.sizes(target.imatrix(imatrix)).is_ok_and(|tally| {
            let tensors = tally.padded_bytes.get();
            tensors + HEADER_BYTES.end() >= row.number("bytes_low") && tensors + HEADER_BYTES.start() <= row.number("bytes_high")
        })
    })
}

/// Publishers also mix types on their own (Unsloth's dynamic files, bartowski's gpt-oss, Google's QAT files), so a part of the
/// rows fits no rule; what fits must not become less.
#[test]
fn sizes_of_published_files() {
    let recipes = recipes("models.jsonl");
    let (mut by_recipe, mut by_published, mut neither) = (0, 0, BTreeMap::<String, u32>::new());
    for row in tsv("published_sizes.tsv") {
        let recipe = recipes.get(row.text("model")).unwrap_or_else(|| panic!("{}: unknown model", row.place()));
        let target = target(&row, false);
        if admits(&row, recipe, target) {
            by_recipe += 1;
        } else if admits(&row, recipe, target.published()) {
            by_published += 1;
        } else {
            *neither.entry(row.text("model").to_owned()).or_default() += 1;
        }
    }
    let misses: u32 = neither.values().sum();
    println!("published files: {by_recipe} fit the recipe, {by_published} the published convention, {misses} neither: {neither:?}");
    assert_eq!((by_recipe, by_published, misses), (218, 39, 99));
}
