//! The operation `gpus`: the devices of the catalog, and one of them with what runs on it.

use alloc::{boxed::Box, string::String, vec::Vec};

use llm_vram_catalog::{Fact, HardwareClass, HardwareRecord};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    Entry, Fields, FitTable, Listing, SourceEntry,
    fit_table::Machine,
    select::{Word, contains, order, parse_choice, selects},
    sources,
};
use crate::{
    catalog,
    error::{Error, ErrorKind, Result},
    hardware::Device,
    metal_limits::{MacOs, metal_working_set},
    units::{ByteUnit, Bytes},
    wire::request::Scenario,
};

/// What devices are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceSort {
    /// Their id.
    Name,
    /// Memory on the nameplate.
    Memory,
    /// Memory bandwidth.
    Bandwidth,
    /// Their month of launch.
    Launched,
    /// List price at launch.
    Price,
}

impl DeviceSort {
    /// The words of requests.
    pub const WORDS: &'static [(&'static str, Self)] = &[
        ("name", Self::Name),
        ("memory", Self::Memory),
        ("bandwidth", Self::Bandwidth),
        ("launched", Self::Launched),
        ("price", Self::Price),
    ];
}

/// Which devices to list. Absent fields select everything.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeviceQuery {
    /// Text that id, name, vendor or architecture contain.
    pub filter: Option<String>,
    /// Vendor.
    pub vendor: Option<String>,
    /// Group: `consumer-nvidia`, `apple-silicon`, `datacenter-workstation`, `amd`, `intel` or `cpu`.
    pub class: Option<String>,
    /// The least memory on the nameplate.
    pub min_memory: Option<Bytes>,
    /// The most memory on the nameplate.
    pub max_memory: Option<Bytes>,
    /// The order; that of the catalog (vendor, id) if absent.
    pub sort: Option<DeviceSort>,
    /// Whether the order is turned round.
    pub reverse: bool,
}

const FIELDS: &[&str] = &["id", "filter", "vendor", "class", "min_memory", "max_memory", "sort", "reverse"];

/// What a request for devices asks: one of them with what runs on it, or a list.
pub(in crate::wire) enum DeviceRequest {
    One(String, Box<Scenario>),
    List(DeviceQuery),
}

impl DeviceRequest {
    /// Reads a request.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownField`], [`ErrorKind::InvalidValue`], [`ErrorKind::OutOfRange`], and
    /// [`ErrorKind::Contradiction`] for an id beside filters, [`ErrorKind::MissingField`] for a context without an id.
    pub(in crate::wire) fn from_object(object: Map<String, Value>) -> Result<Self> {
        let mut fields = Fields::new(object, FIELDS, true)?;
        if let Some(id) = fields.text("id")? {
            fields.alone("id")?;
            return Ok(Self::One(id, Box::new(fields.scenario(Vec::new())?)));
        }
        let query = DeviceQuery {
            filter: fields.text("filter")?,
            vendor: fields.text("vendor")?,
            class: fields.text("class")?,
            min_memory: fields.memory("min_memory")?,
            max_memory: fields.memory("max_memory")?,
            sort: fields.text("sort")?.map(|word| parse_choice("sort", &word, DeviceSort::WORDS)).transpose()?,
            reverse: fields.flag("reverse")?,
        };
        fields.without("id")?;
        Ok(Self::List(query))
    }
}

/// A device of the catalog, in short.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeviceEntry {
    /// Catalog id.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Who makes it.
    pub vendor: &'static str,
    /// The group that it is listed in.
    pub class: &'static str,
    /// Memory on the nameplate, all devices of the board together; absent for processors.
    pub total_bytes: Option<Bytes>,
    /// Memory that software sees, all devices of the board together.
    pub usable_bytes: Option<Bytes>,
    /// Whether `usable_bytes` comes from published logs.
    pub usable_is_measured: bool,
    /// Whether it shares its memory with the processor.
    pub unified_memory: bool,
    /// Bandwidth in 10^9 bytes per second.
    pub bandwidth_gb_per_second: Option<f64>,
    /// Month of launch.
    pub launch: Option<&'static str>,
    /// List price at launch in US dollars.
    pub msrp_usd: Option<u32>,
}

impl DeviceEntry {
    fn new(record: &'static HardwareRecord) -> Result<Self> {
        let device = Device::from_record(record, None)?;
        let known = record.memory_gib.is_some();
        let boards = u64::from(record.devices.max(1));
        Ok(Self {
            id: record.id,
            name: record.name,
            vendor: record.vendor,
            class: record.class.word(),
            total_bytes: known.then(|| device.nameplate_bytes.checked_mul(boards)).transpose()?,
            usable_bytes: known.then(|| device.visible_bytes.checked_mul(boards)).transpose()?,
            usable_is_measured: device.visible_is_measured,
            unified_memory: record.unified,
            bandwidth_gb_per_second: record.bandwidth_gb_s.map(|fact| fact.low()),
            launch: record.launch,
            msrp_usd: record.msrp_usd.map(|fact| fact.low()),
        })
    }
}

/// The devices of the catalog that a query selects.
///
/// # Errors
/// [`ErrorKind::InvalidValue`] for a word that no record has, [`ErrorKind::Contradiction`] for an empty range.
pub fn gpus(query: &DeviceQuery) -> Result<Listing<DeviceEntry>> {
    let records = llm_vram_catalog::hardware();
    let vendors = records.iter().map(|record| record.vendor);
    let vendor = query.vendor.as_deref().map(|asked| Word::new("vendor", asked, vendors)).transpose()?;
    let classes: Vec<(&'static str, HardwareClass)> = HardwareClass::ALL.iter().map(|class| (class.word(), *class)).collect();
    let class = query.class.as_deref().map(|asked| parse_choice("class", asked, &classes)).transpose()?;
    let (least, most) = (query.min_memory.unwrap_or(Bytes::ZERO), query.max_memory.unwrap_or(Bytes::MAX));
    if least > most {
        let (least, most) = (least.display(ByteUnit::GiB), most.display(ByteUnit::GiB));
        return Err(Error::new(ErrorKind::Contradiction, alloc::format!("min_memory is {least}, more than max_memory, {most}"))
            .field("min_memory"));
    }
    let asks_memory = query.min_memory.is_some() || query.max_memory.is_some();
    let mut entries = Vec::new();
    for record in records {
        let texts = [record.id, record.name, record.vendor, record.architecture.unwrap_or_default()];
        let selected = contains(query.filter.as_deref(), &texts)
            && selects(vendor.as_ref(), record.vendor)
            && class.is_none_or(|class| record.class == class);
        if !selected {
            continue;
        }
        let entry = DeviceEntry::new(record)?;
        if !asks_memory || entry.total_bytes.is_some_and(|total| (least..=most).contains(&total)) {
            entries.push(entry);
        }
    }
    match query.sort {
        None if query.reverse => entries.reverse(),
        None => {}
        Some(DeviceSort::Name) => order(&mut entries, query.reverse, |entry| Some(entry.id)),
        Some(DeviceSort::Memory) => order(&mut entries, query.reverse, |entry| entry.total_bytes),
        Some(DeviceSort::Bandwidth) => order(&mut entries, query.reverse, |entry| entry.bandwidth_gb_per_second),
        Some(DeviceSort::Launched) => order(&mut entries, query.reverse, |entry| entry.launch),
        Some(DeviceSort::Price) => order(&mut entries, query.reverse, |entry| entry.msrp_usd),
    }
    Ok(Listing::new(entries))
}

/// A figure of a device's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MemoryFigure {
    /// What it is the figure of: `nameplate`, `nvidia_smi`, `cuda_linux`, `cuda_windows`, `metal_up_to_macos_15`,
    /// `metal_from_macos_26` or `usable`.
    pub of: &'static str,
    /// The figure, or the lower end of its range.
    pub bytes: Bytes,
    /// The upper end, where only a range is known.
    pub high_bytes: Option<Bytes>,
    /// `nameplate`, `published` (a source shows it), `unverified` (no source covers it) or `estimated` (a rule gives it).
    pub how_known: &'static str,
}

/// A device of the catalog, whole.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeviceDetails {
    /// What lists show of it.
    #[serde(flatten)]
    pub entry: DeviceEntry,
    /// What kind of device it is.
    pub kind: &'static str,
    /// Further names that find it.
    pub aliases: &'static [&'static str],
    /// Separate devices on one board.
    pub devices: u32,
    /// Its memory as the nameplate, drivers and systems state it. Sums use that of `used_figure`.
    pub memory: Vec<MemoryFigure>,
    /// The `of` of the figure that sums use.
    pub used_figure: &'static str,
    /// Kind of memory.
    pub memory_type: Option<&'static str>,
    /// Width of the memory bus in bits, per device.
    pub memory_bus_bits: Option<u32>,
    /// Rate at 16-bit precision, in 10^12 operations per second.
    pub fp16_tflops: Option<f64>,
    /// What that rate means.
    pub fp16_kind: Option<&'static str>,
    /// Rate on 8-bit floating point, dense, in 10^12 operations per second.
    pub fp8_tflops: Option<f64>,
    /// The same on 8-bit integers.
    pub int8_tops: Option<f64>,
    /// The same on 4-bit floating point.
    pub fp4_tflops: Option<f64>,
    /// What the rates at 8 and 4 bits mean.
    pub low_precision_kind: Option<&'static str>,
    /// How it is connected to the host and to its like.
    pub interconnect: Option<&'static str>,
    /// Power limit in watts.
    pub tdp_w: Option<u32>,
    /// Name of the chip's architecture.
    pub architecture: Option<&'static str>,
    /// CUDA compute capability.
    pub compute_capability: Option<&'static str>,
    /// What else must be known.
    pub note: Option<&'static str>,
    /// Fields that no source covers.
    pub unverified: &'static [&'static str],
    /// Where the rest comes from.
    pub sources: Vec<SourceEntry>,
    /// The models that run on it; absent for processors whose memory the question does not give.
    pub fit: Option<FitTable>,
}

/// One device of the catalog with the models that run on it.
///
/// `scenario` says what each model is asked to hold and by which engine; its hardware is replaced by the device.
///
/// # Errors
/// [`ErrorKind::UnknownHardware`] with the nearest ids, unknown engines, numbers beyond their bounds.
pub fn gpu(name: &str, scenario: &Scenario) -> Result<Entry<DeviceDetails>> {
    let record = catalog::device(name)?;
    let scenario = Scenario { hardware: alloc::vec![String::from(record.id)], ..scenario.clone() };
    let has_memory = record.memory_gib.is_some() || scenario.host_memory.is_some();
    let fit = if has_memory { Some(Machine::new(&scenario)?.table()?) } else { None };
    let (memory, used_figure) = memory(record)?;
    Ok(Entry::new(DeviceDetails {
        entry: DeviceEntry::new(record)?,
        kind: record.kind.word(),
        aliases: record.aliases,
        devices: record.devices,
        memory,
        used_figure,
        memory_type: record.memory_type,
        memory_bus_bits: record.memory_bus_bits,
        fp16_tflops: record.fp16_tflops.map(|fact| fact.low()),
        fp16_kind: record.fp16_kind,
        fp8_tflops: record.fp8_tflops.map(|fact| fact.low()),
        int8_tops: record.int8_tops.map(|fact| fact.low()),
        fp4_tflops: record.fp4_tflops.map(|fact| fact.low()),
        low_precision_kind: record.low_precision_kind,
        interconnect: record.interconnect,
        tdp_w: record.tdp_w,
        architecture: record.architecture,
        compute_capability: record.compute_capability,
        note: record.note,
        unverified: record.unverified,
        sources: sources(record.sources),
        fit,
    }))
}

/// Every figure of the record's memory, and the name of the one that sums use.
fn memory(record: &'static HardwareRecord) -> Result<(Vec<MemoryFigure>, &'static str)> {
    let mut figures = Vec::new();
    let Some(gib) = record.memory_gib else { return Ok((figures, "host_memory")) };
    let nameplate = Bytes::new(u64::from(gib) << 30)?;
    figures.push(MemoryFigure { of: "nameplate", bytes: nameplate, high_bytes: None, how_known: "nameplate" });
    let stated: [(&'static str, &str, Option<Fact<u32>>); 5] = [
        ("nvidia_smi", "memory_mib_reported", record.memory_mib_reported),
        ("cuda_linux", "memory_mib_cuda", record.memory_mib_cuda),
        ("cuda_windows", "memory_mib_cuda_windows", record.memory_mib_cuda_windows),
        ("metal_up_to_macos_15", "working_set_mib", record.working_set_mib),
        ("metal_from_macos_26", "working_set_mib_macos_26", record.working_set_mib_macos_26),
    ];
    for (of, field, fact) in stated {
        let Some(fact) = fact else { continue };
        let high = fact.exact().is_none().then(|| Bytes::mib(fact.high().into()));
        let how_known = if record.unverified.contains(&field) { "unverified" } else { "published" };
        figures.push(MemoryFigure { of, bytes: Bytes::mib(fact.low().into()), high_bytes: high, how_known });
    }
    if record.vendor == "Apple" {
        // What no record states follows from the rule of its memory size.
        for (of, system) in [("metal_up_to_macos_15", MacOs::UpTo15), ("metal_from_macos_26", MacOs::From26)] {
            if !figures.iter().any(|figure| figure.of == of) {
                let bytes = metal_working_set(nameplate, system).bytes;
                figures.push(MemoryFigure { of, bytes, high_bytes: None, how_known: "estimated" });
            }
        }
    }
    let device = Device::from_record(record, None)?;
    // A board of several devices states its memory in all, software sees each device alone.
    let per_board = device.visible_bytes.checked_mul(record.devices.max(1).into())?;
    let used = figures
        .iter()
        .find(|figure| figure.of != "nameplate" && (figure.bytes == device.visible_bytes || figure.bytes == per_board));
    let used = match used {
        Some(figure) => figure.of,
        None => {
            figures.push(MemoryFigure { of: "usable", bytes: per_board, high_bytes: None, how_known: "estimated" });
            "usable"
        }
    };
    Ok((figures, used))
}
