//! A compute plan for every model of the catalog on llama.cpp: one CUDA card with all layers, and two; by how well the
//! operations are known, with the time that a plan takes.
#![allow(clippy::panic, clippy::expect_used, clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use llm_vram_core::{
    Error, ErrorKind,
    catalog::{self, data},
    engine::{
        Scene,
        llama_cpp::{Load, Parameters, compute::Exactness, stored, version::RULES, working},
    },
    hardware::{Device, Hardware},
    quant::WeightFormat,
    units::Bytes,
    workload::Workload,
};

/// What a plan rests on; the order is from the best to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Known {
    OpListCompared,
    OpListComparedOnHost,
    GenericSkeleton,
    BoundOnly,
}

/// Models of the catalog with a plan; the list must not shrink.
const LEAST_PLANNED: usize = 284;
/// Architectures without operations of their own; the list must not grow.
const MOST_WITHOUT_OP_LIST: usize = 6;

fn card() -> Device {
    Device::from_record(catalog::device("rtx-4090").expect("a card"), None).expect("a device")
}

fn plan(name: &str, devices: usize) -> Result<(String, Known, Duration), Error> {
    let model = catalog::model(name)?.model;
    let hardware = Hardware { devices: vec![card(); devices], host_bytes: None };
    let workload = Workload::new(8192);
    let formats = ["Q4_K_M", "Q8_0", "F16"].map(|format| WeightFormat::parse(format).expect("a format"));
    let mut refused = None;
    for format in &formats {
        let stored = match stored::of(&model, format) {
            Ok(stored) => stored,
            Err(error) => {
                refused = Some(error);
                continue;
            }
        };
        let scene = Scene { model: &model, format, workload: &workload, hardware: &hardware, version: None, memo: None };
        let parameters = Parameters::resolve(&workload)?;
        let load = Load::new(&scene, &parameters, &RULES[0], &stored)?;
        let start = Instant::now();
        let buffers = working::plan(&load)?;
        let took = start.elapsed();
        assert_eq!(buffers.devices.len(), devices, "{name}");
        assert!(buffers.devices.iter().all(|buffer| buffer.expected > Bytes::ZERO && buffer.low <= buffer.high), "{name}");
        let bounded = buffers.warning.as_ref().is_some_and(|warning| warning.code == "compute_buffer_bound");
        let known = match buffers.exactness {
            Exactness::OpList => Known::OpListCompared,
            Exactness::OpListComparedOnHost => Known::OpListComparedOnHost,
            Exactness::GenericSkeleton if bounded => Known::BoundOnly,
            Exactness::GenericSkeleton => Known::GenericSkeleton,
        };
        return Ok((model.architecture().to_owned(), known, took));
    }
    Err(refused.expect("a format was tried"))
}

#[test]
fn every_model_that_llama_cpp_runs_has_a_plan() {
    for devices in [1, 2] {
        let mut counts: BTreeMap<Known, usize> = BTreeMap::new();
        let mut without: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        let mut refused: Vec<(&str, Error)> = Vec::new();
        let mut times = Vec::new();
        for record in data::models() {
            match plan(record.id, devices) {
                Ok((architecture, known, took)) => {
                    *counts.entry(known).or_default() += 1;
                    times.push((took, record.id));
                    if known >= Known::GenericSkeleton {
                        without.entry(format!("{architecture} ({known:?})")).or_default().insert(record.id);
                    }
                }
                Err(error) => {
                    let typed = matches!(error.kind(), ErrorKind::EngineRefuses | ErrorKind::Unsupported);
                    assert!(typed && !error.message().is_empty(), "{}: {error:?}", record.id);
                    refused.push((record.id, error));
                }
            }
        }
        times.sort();
        let planned = times.len();
        println!("{devices} device(s): {planned} of {} models planned: {counts:?}", data::models().len());
        let (median, slowest) = (times[planned / 2].0, times[planned - 1]);
        println!("  a plan takes {median:?} (median), {:?} at most ({})", slowest.0, slowest.1);
        for (architecture, models) in &without {
            println!("  no op list: {architecture}: {}", models.iter().copied().collect::<Vec<_>>().join(", "));
        }
        for (model, error) in &refused {
            println!("  refused: {model}: [{}] {error}", error.kind().code());
        }
        assert!(planned >= LEAST_PLANNED, "{planned} models have a plan, {LEAST_PLANNED} had one");
        let lacking = without.len();
        assert!(lacking <= MOST_WITHOUT_OP_LIST, "{lacking} architectures are without operations of their own");
    }
}
