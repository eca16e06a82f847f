//! Into which files a model is cut, and those files on disk.

use super::CheckpointError;
use crate::{
    manifest::{Manifest, ModelConfig},
    model::{
        Llama, ModelError, header,
        hugging_face::{Dtype, ExportOptions, Plan},
        parameter_shapes, write_tensors_shown,
    },
    round::{CheckpointFile, CheckpointRecord},
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};
use tch::{Device, Tensor};

/// A file of every checkpoint of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedFile {
    /// Its name, as Hugging Face's libraries give it.
    pub name: String,
    /// Its bytes, the header's among them.
    pub bytes: u64,
    tensors: Vec<(String, Vec<usize>)>,
}

/// The files of a run's checkpoints: which tensors each of them has, in the model's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    files: Vec<PlannedFile>,
}

impl Form {
    /// The form that a run's manifest gives.
    pub fn new(manifest: &Manifest) -> Self {
        Self::cut(&manifest.model, manifest.checkpoint.shard_bytes)
    }

    /// Files are filled one after the other, each with at most `shard_bytes` of weights unless one tensor alone has more.
    fn cut(model: &ModelConfig, shard_bytes: u64) -> Self {
        let options = ExportOptions { dtype: Dtype::F32, shard_bytes, tokenizer: None };
        let plan = Plan::new(&parameter_shapes(model), options);
        let file = |(name, tensors): (&str, &[(String, Vec<usize>)])| {
            let shapes: Vec<_> = tensors.iter().map(|(name, shape)| (name.as_str(), shape.clone())).collect();
            let weights =
                tensors.iter().map(|(_, shape)| shape.iter().product::<usize>() as u64).sum::<u64>();
            let bytes = header(&shapes, &metadata()).len() as u64 + 4 * weights;
            PlannedFile { name: name.to_owned(), bytes, tensors: tensors.to_vec() }
        };
        Self { files: plan.files().map(file).collect() }
    }

    /// The files, in the model's order.
    pub fn files(&self) -> &[PlannedFile] {
        &self.files
    }

    /// Checks that a record lists exactly these files, before anything that it lists is fetched.
    ///
    /// # Errors
    /// [`CheckpointError::Form`].
    pub fn check(&self, record: &CheckpointRecord) -> Result<(), CheckpointError> {
        let refuse = |problem: String| Err(CheckpointError::Form { window: record.window, problem });
        let is_hash = |text: &str| {
            text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        if record.files.len() != self.files.len() {
            return refuse(format!("it lists {} files, not {}", record.files.len(), self.files.len()));
        }
        for (listed, file) in record.files.iter().zip(&self.files) {
            if listed.name != file.name || listed.bytes != file.bytes {
                return refuse(format!(
                    "where it should list {} of {} bytes is another",
                    file.name, file.bytes
                ));
            }
            if !is_hash(&listed.hash) {
                return refuse(format!("the hash of {} is none", file.name));
            }
        }
        if is_hash(&record.model) { Ok(()) } else { refuse("the hash of the model is none".to_owned()) }
    }

    /// Writes a model's weights into a folder, file by file, and says what each file is. Each appears whole or not at all, and is
    /// on disk then. No weights are copied but, one tensor at a time, those of another device.
    ///
    /// # Errors
    /// What the disk says; [`ModelError::OtherModel`] for other parameters than the form's.
    pub fn write(
        &self,
        folder: &Path,
        parameters: &[(String, Tensor)],
    ) -> Result<Vec<CheckpointFile>, CheckpointError> {
        let other = |problem: &str| ModelError::OtherModel {
            path: folder.display().to_string(),
            problem: problem.to_owned(),
        };
        let mut left = parameters;
        let mut written = Vec::with_capacity(self.files.len());
        for file in &self.files {
            let (here, rest) = left
                .split_at_checked(file.tensors.len())
                .ok_or_else(|| other("the model has fewer parameters than the run's"))?;
            left = rest;
            if here.iter().zip(&file.tensors).any(|((name, _), (planned, _))| name != planned) {
                return Err(other("the model's parameters are not the run's").into());
            }
            let tensors: Vec<_> = here.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
            let (mut hasher, mut bytes) = (blake3::Hasher::new(), 0);
            write_tensors_shown(&folder.join(&file.name), &tensors, &metadata(), |part| {
                hasher.update(part);
                bytes += part.len() as u64;
            })?;
            let hash = hasher.finalize().to_hex().to_string();
            written.push(CheckpointFile { name: file.name.clone(), bytes, hash });
        }
        if !left.is_empty() {
            return Err(other("the model has more parameters than the run's").into());
        }
        Ok(written)
    }

    /// Reads a folder's files into a model of this form, one file at a time. After an error some of its weights are the old ones and
    /// some the new ones.
    ///
    /// # Errors
    /// A file that cannot be read or holds something else.
    pub fn read_into(&self, folder: &Path, model: &mut Llama) -> Result<(), ModelError> {
        model.read_parts(self.parts(folder))
    }

    /// The model that a folder's files hold.
    ///
    /// # Errors
    /// As [`Self::read_into`].
    pub fn read(&self, folder: &Path, config: &ModelConfig, device: Device) -> Result<Llama, ModelError> {
        Llama::of_parts(config, self.parts(folder), device)
    }

    fn parts(&self, folder: &Path) -> impl Iterator<Item = (PathBuf, &[(String, Vec<usize>)])> {
        self.files.iter().map(move |file| (folder.join(&file.name), file.tensors.as_slice()))
    }
}

/// transformers refuses a file that does not say so.
fn metadata() -> BTreeMap<String, String> {
    BTreeMap::from([("format".to_owned(), "pt".to_owned())])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{manifest::ManifestFile, window::Window};
    use proptest::prelude::*;
    use std::fs;

    fn config(layers: i64) -> ModelConfig {
        let mut config = ManifestFile::preset("local").unwrap().parsed.model;
        (config.vocab_size, config.hidden_size, config.intermediate_size) = (64, 32, 48);
        (config.heads, config.kv_heads, config.layers) = (4, 2, layers);
        config
    }

    fn record(window: Window, files: Vec<CheckpointFile>, model: &Llama) -> CheckpointRecord {
        let model = hex::encode(model.hash());
        CheckpointRecord { run: "00".repeat(32), window, round: 1, model, files }
    }

    proptest! {
        #[test]
        fn every_tensor_is_in_one_file_and_no_file_is_larger_than_it_may_be(
            layers in 1i64..5, tied: bool, shard in 1u64..40_000,
        ) {
            let model = ModelConfig { tied, ..config(layers) };
            let form = Form::cut(&model, shard);
            let all: Vec<_> = form.files.iter().flat_map(|file| file.tensors.clone()).collect();
            prop_assert_eq!(all, parameter_shapes(&model));
            let bytes = |(_, shape): &(String, Vec<usize>)| 4 * shape.iter().product::<usize>() as u64;
            let count = form.files.len();
            for (n, file) in form.files.iter().enumerate() {
                let weights: u64 = file.tensors.iter().map(bytes).sum();
                prop_assert!(weights <= shard || file.tensors.len() == 1);
                prop_assert!(file.bytes > weights && file.bytes % 4 == 0);
                if count > 1 {
                    prop_assert_eq!(&file.name, &format!("model-{:05}-of-{count:05}.safetensors", n + 1));
                }
            }
            // Greedy: what begins a file had no room in the one before.
            for pair in form.files.windows(2) {
                let before: u64 = pair[0].tensors.iter().map(bytes).sum();
                prop_assert!(before + bytes(&pair[1].tensors[0]) > shard);
            }
        }
    }

    #[test]
    fn what_is_written_is_what_was_planned_and_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(3);
        let (model, mut other) = (Llama::new(&config, 1, Device::Cpu), Llama::new(&config, 2, Device::Cpu));
        let form = Form::cut(&config, 9_000);
        assert!(form.files.len() > 4, "{}", form.files.len());
        let files = form.write(folder.path(), model.parameters()).unwrap();
        for file in &files {
            let bytes = fs::read(folder.path().join(&file.name)).unwrap();
            assert_eq!(
                (bytes.len() as u64, blake3::hash(&bytes).to_hex().to_string()),
                (file.bytes, file.hash.clone())
            );
            // Anybody's reader of safetensors opens it.
            safetensors::SafeTensors::deserialize(&bytes).unwrap();
        }
        form.check(&record(5, files.clone(), &model)).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), files.len(), "nothing is left beside them");
        form.read_into(folder.path(), &mut other).unwrap();
        assert_eq!(other.hash(), model.hash());
        assert_eq!(form.read(folder.path(), &config, Device::Cpu).unwrap().hash(), model.hash());
    }

    #[test]
    fn the_same_model_is_the_same_bytes_wherever_it_is_written() {
        let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let config = config(2);
        let form = Form::cut(&config, 20_000);
        let written = folders.each_ref().map(|folder| {
            let model = Llama::new(&config, 7, Device::Cpu);
            form.write(folder.path(), model.parameters()).unwrap()
        });
        assert_eq!(written[0], written[1]);
        // Whatever the build: a change of these bytes is a change of the protocol.
        let header = header(&[("b", vec![2, 3]), ("a", vec![1])], &metadata());
        let text =
            r#"{"__metadata__":{"format":"pt"},"a":{"data_offsets":[24,28],"dtype":"F32","shape":[1]},"#;
        let text = format!(r#"{text}"b":{{"data_offsets":[0,24],"dtype":"F32","shape":[2,3]}}}}"#);
        assert_eq!(String::from_utf8(header[8..].to_vec()).unwrap().trim_end(), text);
    }

    #[test]
    fn a_record_that_lists_anything_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(2);
        let model = Llama::new(&config, 1, Device::Cpu);
        let form = Form::cut(&config, 20_000);
        let files = form.write(folder.path(), model.parameters()).unwrap();
        let good = record(5, files, &model);
        form.check(&good).unwrap();
        let changes: [fn(&mut CheckpointRecord); 8] = [
            |r| r.files.truncate(1),
            |r| r.files.push(r.files[0].clone()),
            |r| r.files.swap(0, 1),
            |r| r.files[0].bytes += 1,
            |r| r.files[1].bytes = u64::MAX,
            |r| r.files[1].name = "../../key".to_owned(),
            |r| r.files[1].hash = "é".repeat(32),
            |r| r.model.truncate(63),
        ];
        for (n, change) in changes.iter().enumerate() {
            let mut bad = good.clone();
            change(&mut bad);
            assert!(matches!(form.check(&bad), Err(CheckpointError::Form { window: 5, .. })), "{n}");
        }
    }

    #[test]
    fn a_model_of_another_shape_is_neither_written_nor_read() {
        let folder = tempfile::tempdir().unwrap();
        let form = Form::cut(&config(2), 20_000);
        for layers in [1, 3] {
            let mut model = Llama::new(&config(layers), 1, Device::Cpu);
            assert!(form.write(folder.path(), model.parameters()).is_err());
            assert!(form.read_into(folder.path(), &mut model).is_err());
        }
        let model = Llama::new(&config(2), 1, Device::Cpu);
        form.write(folder.path(), model.parameters()).unwrap();
        let path = folder.path().join(&form.files[1].name);
        let mut bytes = fs::read(&path).unwrap();
        bytes.pop();
        fs::write(&path, bytes).unwrap();
        assert!(form.read(folder.path(), &config(2), Device::Cpu).is_err());
    }
}
