//! `models`: the models of the catalog, and one of them whole.

use llm_vram_core::{
    Result,
    units::grouped,
    wire::{self, ModelDetails, ModelEntry, ModelQuery, ModelSort, QuantSize, RunsAs, parse_choice, parse_parameters},
};

use super::{billions, marked, names, not_empty, origin, print, scenario};
use crate::{
    args::{FormArgs, ModelsArgs, Units},
    output::{
        self, amount,
        document::{Field, Part, stated},
        table::Column,
    },
};

/// Lists models, or shows one.
pub fn models(args: &ModelsArgs) -> Result<()> {
    if let Some(id) = &args.id {
        return one(id, args.form);
    }
    let parameters = |field: &str, text: &Option<String>| {
        text.as_deref().map(|text| parse_parameters(text).map_err(|error| error.field(field))).transpose()
    };
    let listing = wire::models(&ModelQuery {
        filter: args.filter.clone(),
        family: args.family.clone(),
        maker: args.maker.clone(),
        licence: args.licence.clone(),
        modality: args.modality.clone(),
        class: args.class.clone(),
        min_params: parameters("min_params", &args.min_params)?,
        max_params: parameters("max_params", &args.max_params)?,
        scenario: scenario(&args.fit, args.fits_on.clone())?,
        sort: args.sort.as_deref().map(|word| parse_choice("sort", word, ModelSort::WORDS)).transpose()?,
        reverse: args.reverse,
    })?;
    not_empty(args.form, &listing.entries, "model")?;
    let fits = !args.fits_on.is_empty();
    let fields = if fits { [FIELDS, FIT_FIELDS].concat() } else { FIELDS.to_vec() };
    print(args.form, &listing, &fields, &listing.entries, || vec![table(&listing.entries, fits, args.form)])
}

fn table(entries: &[ModelEntry], fits: bool, form: FormArgs) -> Part {
    let unit = output::unit(form.units.unwrap_or(Units::Gb));
    let mut columns = vec![
        Column("id", false),
        Column("parameters", true),
        Column("active", true),
        Column("trained for", true),
        Column("released", false),
    ];
    columns.extend(if fits {
        vec![Column("best format", false), Column("weights", true), Column("in all", true), Column("longest context", true)]
    } else {
        vec![Column("licence", false), Column("class", false)]
    });
    let rows = entries.iter().map(|entry| {
        let mut row = vec![
            entry.id.to_owned(),
            billions(entry.parameters),
            entry.active_parameters.filter(|&active| active < entry.parameters).map_or_else(String::new, billions),
            grouped(entry.context_length),
            entry.release.unwrap_or_default().to_owned(),
        ];
        match &entry.runs_as {
            Some(runs) => row.extend([
                runs.best_quant.clone(),
                amount(runs.weights_bytes, unit),
                amount(runs.total_bytes, unit),
                grouped(runs.max_context),
            ]),
            None => row.extend([entry.licence.to_owned(), entry.class.to_owned()]),
        }
        row
    });
    Part::Table(columns, rows.collect())
}

const FIELDS: &[Field<ModelEntry>] = &[
    Field("id", |entry| entry.id.to_owned()),
    Field("name", |entry| entry.name.to_owned()),
    Field("maker", |entry| entry.maker.to_owned()),
    Field("family", |entry| entry.family.to_owned()),
    Field("release", |entry| stated(entry.release)),
    Field("licence", |entry| entry.licence.to_owned()),
    Field("hf_id", |entry| entry.hf_id.to_owned()),
    Field("ollama_tag", |entry| stated(entry.ollama_tag)),
    Field("parameters", |entry| entry.parameters.to_string()),
    Field("active_parameters", |entry| stated(entry.active_parameters)),
    Field("context_length", |entry| entry.context_length.to_string()),
    Field("architecture", |entry| entry.architecture.to_owned()),
    Field("modalities", |entry| entry.modalities.join(" ")),
    Field("class", |entry| entry.class.to_owned()),
];

const FIT_FIELDS: &[Field<ModelEntry>] = &[
    Field("best_quant", |entry| runs(entry, |runs| runs.best_quant.clone())),
    Field("weights_bytes", |entry| runs(entry, |runs| runs.weights_bytes.get().to_string())),
    Field("total_bytes", |entry| runs(entry, |runs| runs.total_bytes.get().to_string())),
    Field("max_context", |entry| runs(entry, |runs| runs.max_context.to_string())),
];

fn runs(entry: &ModelEntry, value: impl FnOnce(&RunsAs) -> String) -> String {
    entry.runs_as.as_ref().map_or_else(String::new, value)
}

const SIZE_FIELDS: &[Field<QuantSize>] = &[
    Field("quant", |size| size.quant.clone()),
    Field("family", |size| size.family.to_owned()),
    Field("weights_bytes", |size| size.weights_bytes.get().to_string()),
    Field("bits_per_weight", |size| size.bits_per_weight.map_or_else(String::new, |bits| format!("{bits:.4}"))),
    Field("needs_imatrix", |size| size.needs_imatrix.to_string()),
    Field("purpose", |size| size.purpose.to_owned()),
];

fn one(id: &str, form: FormArgs) -> Result<()> {
    let answer = wire::model(id)?;
    print(form, &answer, SIZE_FIELDS, &answer.entry.sizes, || details(&answer.entry, form))
}

fn details(model: &ModelDetails, form: FormArgs) -> Vec<Part> {
    let unit = output::unit(form.units.unwrap_or(Units::Gb));
    let entry = &model.entry;
    let counts = &model.parameter_counts;
    let unverified = model.unverified;
    let counted = |count: u64| format!("{} ({})", grouped(count), billions(count));
    let check = match (counts.check, counts.because) {
        ("exact", _) => "equals the count that follows from the architecture".to_owned(),
        (_, because) => format!(
            "{} from the architecture, {:+} stated: {}",
            grouped(counts.computed),
            counts.difference,
            because.unwrap_or("unexplained")
        ),
    };
    let mut parts = vec![
        Part::Title(format!("{} ({})", entry.name, entry.id)),
        Part::Facts(vec![
            ("maker", marked(entry.maker, "maker", unverified)),
            ("family", marked(entry.family, "family", unverified)),
            ("released", entry.release.and_then(|release| marked(release, "release", unverified))),
            ("licence", marked(entry.licence, "licence", unverified)),
            ("Hugging Face", marked(entry.hf_id, "hf_id", unverified)),
            ("Ollama", entry.ollama_tag.and_then(|tag| marked(tag, "ollama_tag", unverified))),
            ("other names", names(model.aliases)),
            ("takes in", marked(entry.modalities.join(", "), "modalities", unverified)),
            ("published as", names(model.formats).and_then(|list| marked(list, "formats", unverified))),
            ("class", Some(entry.class.to_owned())),
        ]),
        Part::Heading("Parameters".to_owned()),
        Part::Facts(vec![
            ("total", marked(counted(counts.total), "parameters", unverified)),
            ("language model", (counts.text != counts.total).then(|| counted(counts.text))),
            ("active per token", counts.active.filter(|&active| active != counts.text).map(counted)),
            ("vision and audio", counts.tower.map(counted)),
            ("multi-token prediction", counts.mtp.map(counted)),
            ("listed by the publisher", counts.published.filter(|&published| published != counts.total).map(counted)),
            ("check", Some(check)),
        ]),
        Part::Heading("Architecture".to_owned()),
        Part::Facts(vec![
            ("architecture", marked(entry.architecture, "architecture", unverified)),
            ("layers", Some(model.block_count.to_string())),
            ("prediction layers", (model.mtp_layers > 0).then(|| model.mtp_layers.to_string())),
            ("hidden size", Some(grouped(model.embedding_length.into()))),
            ("vocabulary", Some(format!("{} tokens", grouped(model.vocab_size.into())))),
            ("trained for", Some(format!("{} tokens", grouped(entry.context_length)))),
        ]),
        Part::Table(
            vec![Column("layers", true), Column("kind", false), Column("dimensions", false)],
            model
                .attention
                .iter()
                .chain(&model.feed_forward)
                .filter(|group| !group.detail.is_empty())
                .map(|group| vec![group.layers.to_string(), group.kind.clone(), group.detail.clone()])
                .collect(),
        ),
        Part::Heading("Memory of one request (llama.cpp, f16 cache)".to_owned()),
    ];
    match &model.kv_cache {
        Some(cache) => {
            let mut facts = vec![("per token", Some(format!("{} bytes", grouped(cache.bytes_per_token.get()))))];
            if cache.recurrent_state_bytes.get() > 0 {
                facts.push(("recurrent state", Some(amount(cache.recurrent_state_bytes, unit))));
            }
            parts.push(Part::Facts(facts));
            parts.push(Part::Table(
                vec![Column("context", true), Column("KV cache", true)],
                cache.at.iter().map(|at| vec![grouped(at.context), amount(at.kv_cache_bytes, unit)]).collect(),
            ));
        }
        None => parts.push(Part::Text("llama.cpp does not run this architecture.".to_owned())),
    }
    parts.push(Part::Heading("Weights".to_owned()));
    parts.push(Part::Table(
        vec![
            Column("format", false),
            Column("files", false),
            Column("weights", true),
            Column("bits/weight", true),
            Column("for", false),
        ],
        model
            .sizes
            .iter()
            .map(|size| {
                vec![
                    size.quant.clone(),
                    match size.family {
                        "gguf" => "GGUF",
                        "mlx" => "MLX",
                        _ => "safetensors",
                    }
                    .to_owned(),
                    amount(size.weights_bytes, unit),
                    size.bits_per_weight.map_or_else(String::new, |bits| format!("{bits:.2}")),
                    if size.needs_imatrix {
                        format!("{}; needs an importance matrix", size.purpose)
                    } else {
                        size.purpose.to_owned()
                    },
                ]
            })
            .collect(),
    ));
    parts.extend(origin(&model.sources, unverified));
    parts
}
