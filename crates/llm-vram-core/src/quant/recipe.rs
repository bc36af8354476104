//! What a model weighs at each file type: llama-quantize's choice for every tensor, and the sums.

use alloc::{format, vec::Vec};

use super::{
    FileType, GgmlType,
    mixture::{self, COUNTS, Category, Form, Place, Traits},
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{Group, Model, Storage, Tensor},
    units::Bytes,
};

/// Alignment of tensors in the files that llama-quantize writes
/// (llama.cpp, `ggml/include/gguf.h`: `GGUF_DEFAULT_ALIGNMENT`).
pub const FILE_ALIGNMENT_BYTES: u64 = 32;

/// What a model is quantised to, and from what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuantTarget {
    /// The mixture.
    pub file_type: FileType,
    /// Whether an importance matrix is given; it changes some choices.
    pub imatrix: bool,
    /// The type of the source file, which some small matrices keep.
    pub source: GgmlType,
    /// Whose files are meant.
    pub convention: Convention,
}

/// Whose files are meant, where published files depart from the quantiser's own choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Convention {
    /// The quantiser's own choice from an unquantised source.
    #[default]
    Recipe,
    /// What published files hold, for the two departures whose reason is known:
    ///
    /// * gpt-oss: experts are released in MXFP4 and stay so in every file type. From an unquantised source
    ///   the recipe would give files up to three times as large.
    /// * gemma3n: `per_layer_token_embd` has the file type's default, because the files were made by versions
    ///   that did not yet treat that table as an embedding.
    ///
    /// Seen in the published sizes of gpt-oss-20b and gemma-3n-E4B files of three publishers.
    Published,
}

impl QuantTarget {
    /// The quantiser's own choice from a BF16 source, without an importance matrix.
    #[must_use]
    pub const fn new(file_type: FileType) -> Self {
        Self { file_type, imatrix: false, source: GgmlType::BF16, convention: Convention::Recipe }
    }

    /// The same with or without an importance matrix.
    #[must_use]
    pub const fn imatrix(self, imatrix: bool) -> Self {
        Self { imatrix, ..self }
    }

    /// The same from a source of another type.
    #[must_use]
    pub const fn source(self, source: GgmlType) -> Self {
        Self { source, ..self }
    }

    /// The same as published files have it.
    #[must_use]
    pub const fn published(self) -> Self {
        Self { convention: Convention::Published, ..self }
    }
}

impl From<FileType> for QuantTarget {
    fn from(file_type: FileType) -> Self {
        Self::new(file_type)
    }
}

/// The type that a tensor gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The type.
    pub ty: GgmlType,
    /// Whether the tensor's rows do not fit the type that the mixture asked for.
    pub fell_back: bool,
    /// Whether the quantiser refuses to write it without an importance matrix, and none is given.
    pub needs_imatrix: bool,
}

/// What the tensors of one type amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TypeTally {
    /// Number of tensors.
    pub tensors: u64,
    /// Their weights.
    pub elements: u64,
    /// Their bytes, without padding.
    pub bytes: u64,
}

/// Number of GGUF type ids, the unused ones included.
const TYPE_IDS: usize = 43;

/// What all tensors amount to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightTally {
    /// Bytes of the tensors.
    pub bytes: Bytes,
    /// Bytes of the tensors, each padded to [`FILE_ALIGNMENT_BYTES`]: the data section of the file. The file adds a
    /// header of 2 to 20 MB, which is mostly the tokenizer.
    pub padded_bytes: Bytes,
    /// Tensors that got another type than the mixture asked for, because of their row length.
    pub n_fallback: u64,
    /// An importance matrix is needed and none is given: the quantiser would refuse.
    pub needs_imatrix: bool,
    by_type: [TypeTally; TYPE_IDS],
}

impl WeightTally {
    /// The types that occur, in the order of their GGUF ids, and what is stored in each.
    pub fn by_type(&self) -> impl Iterator<Item = (GgmlType, TypeTally)> + '_ {
        GgmlType::ALL.iter().map(|&ty| (ty, self.by_type[ty as usize])).filter(|(_, tally)| tally.tensors > 0)
    }

    /// Number of weights.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.by_type.iter().map(|tally| tally.elements).sum()
    }
}

/// Tensors that no rule tells apart except by their place.
#[derive(Debug, Clone)]
struct Class {
    kind: Kind,
    form: Form,
    /// What [`Convention::Published`] says of them.
    published: Option<Published>,
    elements: u64,
    /// Number of such tensors.
    count: u64,
    /// Where each stands, for categories whose place matters.
    places: Vec<Place>,
    /// The first of them, for messages.
    first: usize,
}

/// What decides about the type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The mixture.
    Quantised,
    /// It has this type in every file.
    Fixed(GgmlType),
    /// It keeps the type of the source.
    Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Published {
    Always(GgmlType),
    Default,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    class: u32,
    place: Place,
}

/// A model's tensors prepared for the choice of types.
///
/// ```
/// use llm_vram_core::{Model, model::Hyperparameters, quant::{FileType, Recipe}};
/// let mut llama = Hyperparameters::new("llama");
/// llama.block_count = 32;
/// llama.embedding_length = 4096;
/// llama.vocab_size = 128_256;
/// llama.feed_forward_length = 14_336.into();
/// llama.head_count = 32.into();
/// llama.head_count_kv = 8.into();
/// llama.facts.rope_freqs = true;
/// let model = Model::new(llama)?;
/// let recipe = Recipe::new(&model);
/// let tally = recipe.sizes(FileType::Q4_K_M)?;
/// assert_eq!(tally.padded_bytes.get(), 4_912_898_304);
/// # Ok::<(), llm_vram_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Recipe {
    traits: Traits,
    classes: Vec<Class>,
    entries: Vec<Entry>,
    /// Names of the first tensors of classes, for messages.
    names: Vec<alloc::string::String>,
}

impl Recipe {
    /// Prepares a model: sorts its tensors into classes and counts the places of those whose place matters.
    #[must_use]
    pub fn new(model: &Model) -> Self {
        let tensors = model.tensors();
        let mut recipe = Self {
            traits: traits(model),
            classes: Vec::with_capacity(32),
            entries: Vec::with_capacity(tensors.len()),
            names: Vec::new(),
        };
        // Lists repeat themselves block by block: what followed a tensor's like in an earlier block probably follows it too.
        let mut expected = 0;
        for (index, tensor) in tensors.iter().enumerate() {
            let like = recipe.find_like(tensors, expected, tensor).or_else(|| {
                let same = |class: &Class| tensors[class.first].stem == tensor.stem;
                let first = recipe.classes.iter().find(|class| same(class)).map(|class| class.first)?;
                recipe.find_like(tensors, first, tensor)
            });
            let class = match like {
                Some(like) => recipe.entries[like].class,
                None => recipe.class_of(model.architecture(), index, tensor),
            };
            expected = like.map_or(0, |like| like + 1);
            recipe.entries.push(Entry { class, place: Place { ordinal: 0, block: tensor.block } });
        }
        recipe.count_places(tensors);
        recipe
    }

    /// `candidate`, if the tensor there is stored as `tensor` is.
    fn find_like(&self, tensors: &[Tensor], candidate: usize, tensor: &Tensor) -> Option<usize> {
        let earlier = tensors.get(candidate).filter(|_| candidate < self.entries.len())?;
        let is_like = earlier.shape == tensor.shape
            && earlier.storage == tensor.storage
            && earlier.group == tensor.group
            && earlier.stored == tensor.stored
            && earlier.stem == tensor.stem;
        is_like.then_some(candidate)
    }

    /// The class of a tensor, a new one if it is the first of its kind.
    fn class_of(&mut self, architecture: &str, index: usize, tensor: &Tensor) -> u32 {
        let kind = kind(tensor);
        let form = Form {
            category: Category::of(&tensor.stem),
            row: tensor.shape[0],
            is_stack: tensor.shape[2] > 1,
            at_least_q8_0: architecture == "glm5-next"
                && ["attn_q_a", "attn_q_b", "nextn.eh_proj"].iter().any(|part| tensor.stem.contains(part)),
        };
        let published = match architecture {
            "gpt-oss" if tensor.stem.contains("_exps.weight") => Some(Published::Always(GgmlType::MXFP4)),
            "gemma3n" if tensor.stem == "per_layer_token_embd.weight" => Some(Published::Default),
            _ => None,
        };
        let elements = tensor.elements();
        let found = self.classes.iter().position(|class| {
            class.elements == elements && class.form == form && class.kind == kind && class.published == published
        });
        let position = found.unwrap_or_else(|| {
            self.names.push(tensor.name());
            self.classes.push(Class { kind, form, published, elements, count: 0, places: Vec::new(), first: index });
            self.classes.len() - 1
        });
        // At most one class for each tensor, and a list of tensors is bounded far below 2^32.
        u32::try_from(position).unwrap_or(u32::MAX)
    }

    /// Gives every tensor its place in its running count and collects the places by class.
    ///
    /// The quantiser goes by block number, tensors outside blocks first, and within a block by name; only
    /// tensors that may be quantised advance a count.
    fn count_places(&mut self, tensors: &[Tensor]) {
        let mut counted: [Vec<u32>; COUNTS] = [const { Vec::new() }; COUNTS];
        for (index, entry) in self.entries.iter().enumerate() {
            let class = &mut self.classes[entry.class as usize];
            class.count += 1;
            let Some(count) = class.form.category.count() else { continue };
            if count == Category::VALUE_COUNT && tensors[index].group != Group::Tower {
                self.traits.values += 1;
            }
            if class.kind == Kind::Quantised {
                counted[count].push(u32::try_from(index).unwrap_or(u32::MAX));
            }
        }
        for indices in &mut counted {
            let key = |index: &u32| {
                let tensor = &tensors[*index as usize];
                (tensor.block, &*tensor.stem)
            };
            if !indices.is_sorted_by_key(key) {
                indices.sort_by(|a, b| key(a).cmp(&key(b)));
            }
            for (ordinal, &index) in (0_u32..).zip(indices.iter()) {
                let entry = &mut self.entries[index as usize];
                entry.place.ordinal = ordinal;
                self.classes[entry.class as usize].places.push(entry.place);
            }
        }
    }

    /// The type of one tensor, by its index in [`Model::tensors`].
    ///
    /// # Errors
    /// [`ErrorKind::EngineRefuses`] where llama-quantize stops: it knows no smaller block for the rows of a tensor
    /// (`Q1_0` with rows that are no multiple of 128). [`ErrorKind::InvalidValue`] for an index without a tensor.
    pub fn type_of(&self, tensor_index: usize, target: impl Into<QuantTarget>) -> Result<Choice> {
        let entry = self.entries.get(tensor_index).ok_or_else(|| {
            Error::new(ErrorKind::InvalidValue, format!("no tensor `{tensor_index}`: the model has {}", self.entries.len()))
        })?;
        self.choose(entry.class as usize, entry.place, &target.into())
    }

    /// The bytes of one tensor, without padding.
    ///
    /// # Errors
    /// As [`Recipe::type_of`].
    pub fn bytes_of(&self, tensor_index: usize, target: impl Into<QuantTarget>) -> Result<Bytes> {
        let ty = self.type_of(tensor_index, target)?.ty;
        let class = self.entries.get(tensor_index).map(|entry| &self.classes[entry.class as usize]);
        Bytes::new(class.map_or(0, |class| class.bytes(ty)))
    }

    /// Type and bytes of every tensor, in the order of [`Model::tensors`].
    ///
    /// # Errors
    /// Each item as [`Recipe::type_of`].
    pub fn tensors(&self, target: impl Into<QuantTarget>) -> impl ExactSizeIterator<Item = Result<(Choice, Bytes)>> + '_ {
        let target = target.into();
        self.entries.iter().map(move |entry| {
            let class = entry.class as usize;
            let choice = self.choose(class, entry.place, &target)?;
            Ok((choice, Bytes::new(self.classes[class].bytes(choice.ty))?))
        })
    }

    /// The sums over all tensors.
    ///
    /// # Errors
    /// As [`Recipe::type_of`]; one misfit tensor refuses the whole file.
    pub fn sizes(&self, target: impl Into<QuantTarget>) -> Result<WeightTally> {
        let target = target.into();
        let mut tally = WeightTally {
            bytes: Bytes::ZERO,
            padded_bytes: Bytes::ZERO,
            n_fallback: 0,
            needs_imatrix: false,
            by_type: [TypeTally::default(); TYPE_IDS],
        };
        let mut padded = 0_u128;
        let mut add = |class: &Class, choice: Choice, count: u64| {
            let bytes = class.bytes(choice.ty);
            let of_type = &mut tally.by_type[choice.ty as usize];
            of_type.tensors += count;
            // Elements are at most 2^50 in all and a weight has at most 8 bytes, so these products stay below 2^54.
            of_type.elements += count * class.elements;
            of_type.bytes += count * bytes;
            padded += u128::from(count) * u128::from(bytes.next_multiple_of(FILE_ALIGNMENT_BYTES));
            tally.n_fallback += if choice.fell_back { count } else { 0 };
            tally.needs_imatrix |= choice.needs_imatrix;
        };
        for (index, class) in self.classes.iter().enumerate() {
            if class.places.is_empty() {
                add(class, self.choose(index, Place { ordinal: 0, block: None }, &target)?, class.count);
                continue;
            }
            // Neighbours mostly agree, so runs are added at once.
            let mut run: Option<(Choice, u64)> = None;
            for &place in &class.places {
                let choice = self.choose(index, place, &target)?;
                run = match run {
                    Some((same, count)) if same == choice => Some((same, count + 1)),
                    Some((other, count)) => {
                        add(class, other, count);
                        Some((choice, 1))
                    }
                    None => Some((choice, 1)),
                };
            }
            if let Some((choice, count)) = run {
                add(class, choice, count);
            }
        }
        tally.bytes = Bytes::from_wide(tally.by_type.iter().map(|of_type| u128::from(of_type.bytes)).sum())?;
        tally.padded_bytes = Bytes::from_wide(padded)?;
        Ok(tally)
    }

    fn choose(&self, index: usize, place: Place, target: &QuantTarget) -> Result<Choice> {
        let class = &self.classes[index];
        let kept = |ty| Ok(Choice { ty, fell_back: false, needs_imatrix: false });
        match class.kind {
            Kind::Fixed(ty) => return kept(ty),
            Kind::Source => return kept(target.source),
            Kind::Quantised => {}
        }
        let default = target.file_type.default_type();
        let published = class.published.filter(|_| target.convention == Convention::Published);
        let wanted = match published {
            Some(Published::Always(ty)) => Some(ty),
            Some(Published::Default) => Some(default),
            None if !default.is_quantised() => return kept(default),
            None => mixture::choose(class.form, place, target.file_type, target.imatrix, &self.traits),
        };
        let Some((ty, fell_back)) = wanted.and_then(|ty| mixture::fit_row(ty, class.form.row)) else {
            return Err(self.refusal(index, wanted, target.file_type));
        };
        let needs_imatrix = !target.imatrix && mixture::requires_imatrix(class.form.category, ty, target.file_type);
        Ok(Choice { ty, fell_back, needs_imatrix })
    }

    #[cold]
    fn refusal(&self, class: usize, wanted: Option<GgmlType>, file_type: FileType) -> Error {
        let name = self.names.get(class).map_or("", |name| name);
        let row = self.classes[class].form.row;
        let message = match wanted {
            Some(ty) => format!(
                "llama-quantize cannot write `{file_type}`: tensor `{name}` has rows of {row} weights, which are no whole number of \
                 {} blocks of {}, and no smaller block stands in for them",
                ty.name(),
                ty.block_len()
            ),
            None => format!("llama-quantize cannot write `{file_type}`: tensor `{name}` belongs to no block of the model"),
        };
        Error::new(ErrorKind::EngineRefuses, message).field(name).help("choose another file type, for example Q4_K_M")
    }
}

impl Class {
    /// The bytes of one such tensor in a type that fits its rows.
    fn bytes(&self, ty: GgmlType) -> u64 {
        // Rows are whole blocks, so all weights together are too.
        self.elements / ty.block_len() * ty.block_bytes()
    }
}

/// What decides about a tensor's type.
fn kind(tensor: &Tensor) -> Kind {
    let stored = tensor.stored.as_ref().and_then(|stored| GgmlType::from_name(&stored.type_name));
    match tensor.storage {
        Storage::Quantisable if tensor.group != Group::Tower => Kind::Quantised,
        Storage::KeptF32 => Kind::Fixed(stored.unwrap_or(GgmlType::F32)),
        // Towers are files of their own, which publishers leave at the checkpoint's precision.
        Storage::Quantisable | Storage::KeptSource => stored.map_or(Kind::Source, Kind::Fixed),
    }
}

fn traits(model: &Model) -> Traits {
    let hp = model.hyperparameters();
    let (heads, kv_heads) = (hp.head_count.at(0), hp.head_count_kv.at(0));
    let main_blocks = hp.main_block_count();
    // llama.cpp tells the 70B class by the number of blocks (`load_arch_hparams` of these architectures).
    let is_70b = match model.architecture() {
        "llama" => main_blocks == 80 && heads != kv_heads,
        "qwen2" | "deci" | "olmo" => main_blocks == 80,
        "jais2" => main_blocks == 68,
        _ => false,
    };
    Traits {
        is_falcon: model.architecture() == "falcon",
        is_bailingmoe3: model.architecture() == "bailingmoe3",
        blocks: hp.block_count,
        experts: hp.expert_count,
        // A first block without key-value heads counts as no grouping at all.
        gqa_at_least_4: kv_heads > 0 && heads / kv_heads >= 4,
        is_70b,
        tied: !model.has("output.weight"),
        values: 0,
    }
}
