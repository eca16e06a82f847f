//! Weights that others read while their owner goes on, but for the next step.

use super::Llama;
use std::{
    sync::mpsc::{Receiver, Sender, channel},
    time::{Duration, Instant},
};
use tch::Tensor;

/// A model's weights where they lie, without a copy: they stay as they are for as long as this is there.
#[derive(Debug)]
pub struct Lent {
    parameters: Vec<(String, Tensor)>,
    /// Nothing is sent: the owner waits for the end of it.
    _until: Sender<()>,
}

impl Lent {
    /// Names and weights, in the model's order.
    pub fn parameters(&self) -> &[(String, Tensor)] {
        &self.parameters
    }
}

/// Who has weights of a model, by their owner. It changes none of them before [`Self::wait`].
#[derive(Debug, Default)]
pub struct Lender(Vec<Receiver<()>>);

impl Lender {
    /// Lends the weights of a model.
    pub fn lend(&mut self, model: &Llama) -> Lent {
        let (until, ended) = channel();
        self.0.push(ended);
        let parameters = model.parameters().iter().map(|(n, t)| (n.clone(), t.detach())).collect();
        Lent { parameters, _until: until }
    }

    /// Waits until nobody has them any more, and says how long that took.
    pub fn wait(&mut self) -> Duration {
        let started = Instant::now();
        // An error is what is waited for: the other end is gone, however that came.
        self.0.drain(..).for_each(|ended| _ = ended.recv());
        started.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::ManifestFile;
    use tch::Device;

    #[test]
    fn the_owner_waits_for_the_reader_and_no_weight_is_copied() {
        let config = ManifestFile::preset("local").unwrap().parsed.model;
        let model = Llama::new(&config, 1, Device::Cpu);
        let mut lender = Lender::default();
        assert!(lender.wait() < Duration::from_millis(20), "nobody has them");
        let lent = lender.lend(&model);
        let same = |((_, a), (_, b)): (&(String, Tensor), &(String, Tensor))| a.data_ptr() == b.data_ptr();
        assert!(lent.parameters().iter().zip(model.parameters()).all(same));
        let reader = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(60));
            drop(lent);
        });
        assert!(lender.wait() >= Duration::from_millis(30));
        reader.join().unwrap();
        // A reader that fails holds nobody up.
        let lent = lender.lend(&model);
        let failed = std::thread::spawn(move || {
            let _lent = lent;
            std::panic::resume_unwind(Box::new(()));
        });
        lender.wait();
        assert!(failed.join().is_err());
    }
}
