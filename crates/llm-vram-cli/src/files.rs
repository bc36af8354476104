//! Reads the beginnings of model files: as much as their headers need and no more.

use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use llm_vram_core::{
    Error, ErrorKind, Result, bounds,
    input::{self, InputKind, ReadError, gguf, safetensors},
    wire::Files,
};

/// What is read first; most headers without a vocabulary fit.
const FIRST_READ: u64 = 1 << 20;

/// The contents of the files that a question is about.
#[derive(Debug, Default)]
pub struct Contents {
    gguf: Vec<Vec<u8>>,
    safetensors: Vec<(String, Vec<u8>)>,
    safetensors_index: Option<String>,
    config: Option<String>,
}

impl Contents {
    /// Whether nothing was read.
    pub fn is_empty(&self) -> bool {
        self.gguf.is_empty() && self.safetensors.is_empty() && self.safetensors_index.is_none() && self.config.is_none()
    }

    /// Reads whatever `path` is: a GGUF file with its further parts, a safetensors file, index or folder, or a config.json.
    pub fn add_any(&mut self, path: &Path) -> Result<()> {
        if path.is_dir() {
            return self.add_safetensors(path);
        }
        let start = read_start(path, FIRST_READ)?;
        match input::detect(&start) {
            InputKind::Gguf => self.add_gguf(path),
            InputKind::SafetensorsHeader | InputKind::SafetensorsIndex => self.add_safetensors(path),
            InputKind::ConfigJson => self.add_config(path),
            _ => Err(Error::new(ErrorKind::Malformed, format!("`{}` is no GGUF, safetensors or config.json file", path.display()))
                .help("give a .gguf file, a .safetensors file, a model.safetensors.index.json or a config.json")),
        }
    }

    /// Reads the header of a GGUF file, and those of its further parts beside it.
    pub fn add_gguf(&mut self, path: &Path) -> Result<()> {
        for part in gguf_parts(path)? {
            let header = read_header(&part, |bytes, file_bytes| gguf::Header::read(bytes, Some(file_bytes)).map(drop))?;
            self.gguf.push(header);
        }
        Ok(())
    }

    /// Reads the header of a safetensors file, or an index with the headers of the files that it names, or what a folder
    /// holds of these; a `config.json` beside them is read too.
    pub fn add_safetensors(&mut self, path: &Path) -> Result<()> {
        let path = if path.is_dir() { checkpoint_in(path)? } else { path.to_path_buf() };
        let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        let is_index = input::detect(&read_start(&path, FIRST_READ)?) == InputKind::SafetensorsIndex;
        let mut shards = vec![path.clone()];
        if is_index {
            let text = read_text(&path, input::limits::SAFETENSORS_INDEX_BYTES)?;
            let index = safetensors::Index::read(&text)?;
            // Without its files an index still gives the total, together with a config.json.
            shards = index.files().iter().map(|name| folder.join(name)).filter(|shard| shard.is_file()).collect();
            self.safetensors_index = Some(text);
        }
        for shard in shards {
            let header = read_header(&shard, |bytes, file_bytes| safetensors::Header::read(bytes, Some(file_bytes)).map(drop))?;
            let name = shard.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            self.safetensors.push((name, header));
        }
        let config = folder.join("config.json");
        if self.config.is_none() && config.is_file() {
            self.add_config(&config)?;
        }
        Ok(())
    }

    /// Reads a `config.json`.
    pub fn add_config(&mut self, path: &Path) -> Result<()> {
        self.config = Some(read_text(path, bounds::CONFIG_BYTES.max)?);
        Ok(())
    }

    /// Lends everything that was read; `gguf` and `safetensors` hold the borrowed lists.
    pub fn lend<'a>(&'a self, gguf: &'a mut Vec<&'a [u8]>, safetensors: &'a mut Vec<(&'a str, &'a [u8])>) -> Files<'a> {
        gguf.extend(self.gguf.iter().map(Vec::as_slice));
        safetensors.extend(self.safetensors.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())));
        Files { gguf, safetensors, safetensors_index: self.safetensors_index.as_deref(), config: self.config.as_deref() }
    }
}

/// The parts of a split GGUF file, in order: `name-00001-of-00003.gguf` and its like; the file itself if it is no part.
fn gguf_parts(path: &Path) -> Result<Vec<PathBuf>> {
    let whole = || Ok(vec![path.to_path_buf()]);
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return whole() };
    let Some(stem) = name.strip_suffix(".gguf") else { return whole() };
    let Some((rest, count)) = stem.rsplit_once("-of-") else { return whole() };
    let Some((base, number)) = rest.rsplit_once('-') else { return whole() };
    let (Ok(count_number), Ok(_)) = (count.parse::<u32>(), number.parse::<u32>()) else { return whole() };
    if number.len() != 5 || count.len() != 5 || count_number == 0 {
        return whole();
    }
    let parts: Vec<PathBuf> = (1..=count_number).map(|n| path.with_file_name(format!("{base}-{n:05}-of-{count}.gguf"))).collect();
    match parts.iter().find(|part| !part.is_file()) {
        Some(missing) => {
            Err(Error::new(ErrorKind::MissingField, format!("part `{}` of the split file is missing", missing.display()))
                .help("put all parts into one folder"))
        }
        None => Ok(parts),
    }
}

/// The index or single file of a checkpoint folder.
fn checkpoint_in(folder: &Path) -> Result<PathBuf> {
    for name in ["model.safetensors.index.json", "model.safetensors", "consolidated.safetensors"] {
        let candidate = folder.join(name);
        if candidate.is_file() {
            return Ok(candidate);
        }
    }
    Err(Error::new(
        ErrorKind::MissingField,
        format!("`{}` holds no model.safetensors and no model.safetensors.index.json", folder.display()),
    )
    .help("give the file itself"))
}

/// Reads more and more of a file's beginning until `parse` is satisfied.
fn read_header(path: &Path, parse: impl Fn(&[u8], u64) -> std::result::Result<(), ReadError>) -> Result<Vec<u8>> {
    let mut file = open(path)?;
    let file_bytes = file.seek(SeekFrom::End(0)).map_err(|error| unreadable(path, &error))?;
    let mut wanted = FIRST_READ;
    let mut bytes = Vec::new();
    loop {
        file.seek(SeekFrom::Start(bytes.len() as u64)).map_err(|error| unreadable(path, &error))?;
        let missing = wanted.min(file_bytes).saturating_sub(bytes.len() as u64);
        file.by_ref().take(missing).read_to_end(&mut bytes).map_err(|error| unreadable(path, &error))?;
        match parse(&bytes, file_bytes) {
            Ok(()) => return Ok(bytes),
            Err(ReadError::NeedMoreBytes { at_least, .. }) if (bytes.len() as u64) < file_bytes && at_least <= file_bytes => {
                wanted = at_least.max(wanted.saturating_mul(2));
            }
            Err(error) => return Err(in_file(path, error.into())),
        }
    }
}

fn read_start(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(limit).read_to_end(&mut bytes).map_err(|error| unreadable(path, &error))?;
    Ok(bytes)
}

fn read_text(path: &Path, limit: u64) -> Result<String> {
    let too_long = |size: u64| {
        let message = format!("`{}` has {size} bytes or more: expected at most {limit}", path.display());
        Error::new(ErrorKind::LimitExceeded, message)
    };
    let size = fs::metadata(path).map_err(|error| unreadable(path, &error))?.len();
    if size > limit {
        return Err(too_long(size));
    }
    // Devices and pipes state no size, and may never end.
    let mut bytes = Vec::new();
    open(path)?.take(limit + 1).read_to_end(&mut bytes).map_err(|error| unreadable(path, &error))?;
    if bytes.len() as u64 > limit {
        return Err(too_long(bytes.len() as u64));
    }
    String::from_utf8(bytes).map_err(|_| Error::new(ErrorKind::Malformed, format!("`{}` is not UTF-8 text", path.display())))
}

fn open(path: &Path) -> Result<File> {
    if path.is_dir() {
        return Err(Error::new(ErrorKind::MissingField, format!("`{}` is a folder", path.display())).help("give a file"));
    }
    File::open(path).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::new(ErrorKind::MissingField, format!("cannot read `{}`: {error}", path.display())).help("check the path")
}

fn in_file(path: &Path, error: Error) -> Error {
    let named = Error::new(error.kind(), format!("{}: {}", path.display(), error.message()));
    let named = match error.field_name() {
        Some(field) => named.field(field),
        None => named,
    };
    match error.help_text() {
        Some(help) => named.help(help),
        None => named,
    }
}
