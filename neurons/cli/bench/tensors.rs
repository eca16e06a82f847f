//! What a node does with whole models on a device, as nodes do it: on tensors.

use super::{
    Measured, Setting,
    works::{self, Failed, Group, PEERS},
};
use tch::{Device, Kind, Tensor};
use templar::{
    aggregate,
    codec::{Codec, Rule, SparseTensor},
    gradient::Layout,
    manifest::Manifest,
};

/// The size of a step. It changes nothing in what a step takes.
const STEP: f64 = 1e-3;

/// Measures a group, or gives nothing where a device does not do it by itself.
pub(super) fn measure(
    group: Group,
    manifest: &Manifest,
    params: u64,
    setting: &Setting,
) -> Result<Option<Vec<Measured>>, Failed> {
    let shapes = works::shapes(params);
    let layout = Layout::new(&shapes, &manifest.compress, 0)?;
    let codec: &Codec = layout.codec();
    let bytes = 4 * codec.parameters() as u64;
    let rule = manifest.outer.rule;
    if !matches!(group, Group::Aggregate | Group::Judge) {
        return Ok(None);
    }
    let peers = works::peers(codec, PEERS)?;
    let peers: Vec<&[SparseTensor]> = peers.iter().map(Vec::as_slice).collect();
    let (before, parameters) = (weights(&shapes, setting.device), weights(&shapes, setting.device));
    let mut results = Vec::new();
    let mut time = |name, bytes, work: &mut dyn FnMut() -> Result<(), Failed>| {
        results.push(setting.time(name, bytes, work)?);
        Ok::<(), Failed>(())
    };
    if group == Group::Judge {
        time("judge-14", bytes, &mut || {
            for members in [&peers[..1], &peers[1..]] {
                aggregate::step_from(rule, members, &layout, &before, &parameters, STEP)?;
            }
            Ok(())
        })?;
        let update = aggregate::aggregate(rule, &peers, &layout, setting.device)?;
        time("judge-round", bytes, &mut || {
            aggregate::apply_from(&before, &parameters, &update, STEP);
            Ok(())
        })?;
    } else {
        let name = if rule == Rule::Sign { "signs-15" } else { "mean-15" };
        let update = if rule == Rule::Sign { bytes / 4 } else { bytes };
        time(name, update, &mut || {
            std::hint::black_box(aggregate::aggregate(rule, &peers, &layout, setting.device)?);
            Ok(())
        })?;
        time("step-15", bytes, &mut || Ok(aggregate::step(rule, &peers, &layout, &parameters, STEP)?))?;
    }
    Ok(Some(results))
}

fn weights(shapes: &[(String, Vec<usize>)], device: Device) -> Vec<(String, Tensor)> {
    let weight = |(name, shape): &(String, Vec<usize>)| {
        let shape: Vec<i64> = shape.iter().map(|d| *d as i64).collect();
        (name.clone(), Tensor::full(&shape, 0.1, (Kind::Float, device)))
    };
    shapes.iter().map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use templar::manifest::ManifestFile;

    #[test]
    fn a_device_does_its_works() {
        let manifest = ManifestFile::preset("templar-2").unwrap().parsed;
        let setting = Setting { device: Device::Cpu, repeats: 1, params: 4096 };
        let works = |group| {
            let results = measure(group, &manifest, 4096 * 6, &setting).unwrap();
            results.map(|results| results.iter().map(|m| m.work).collect::<Vec<_>>())
        };
        assert_eq!(works(Group::Aggregate).unwrap(), ["signs-15", "step-15"]);
        assert_eq!(works(Group::Judge).unwrap(), ["judge-14", "judge-round"]);
        assert_eq!(works(Group::Wire), None);
    }
}
