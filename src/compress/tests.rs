use super::*;
use crate::{device::emulator::Emulator, manifest::CompressConfig};
use std::sync::Arc;

fn layout(settings: &CompressConfig) -> Layout {
    let shapes = [("a", vec![128, 192]), ("b", vec![96, 40]), ("c", vec![130]), ("d", vec![7, 64])];
    Layout::new(&shapes.map(|(n, s)| (n.to_owned(), s)), settings, 2).unwrap()
}

fn both() -> [Layout; 2] {
    [CompressConfig::demo(0.9, 64, 32), CompressConfig::sparse_loco(0.95, 64, 64)].map(|s| layout(&s))
}

fn gradients(layout: &Layout, seed: i64) -> Vec<Tensor> {
    let gradient = |t: &TensorLayout| {
        let values = crate::model::initial_values(&t.name, &[1, t.len()], seed as u64, 1e-3);
        Tensor::from_slice(&values).view(t.shape.iter().map(|d| *d as i64).collect::<Vec<_>>().as_slice())
    };
    layout.tensors().iter().map(gradient).collect()
}

#[test]
fn what_was_kept_is_sent_later() {
    // With no new gradient and a beta of nearly 1, everything is sent in the end.
    for settings in [CompressConfig::demo(0.999, 64, 32), CompressConfig::sparse_loco(0.999, 64, 64)] {
        let layout = layout(&settings);
        let mut state = ErrorFeedback::new(&layout);
        let gradient = gradients(&layout, 2);
        state.encode(&gradient).unwrap();
        let nothing: Vec<Tensor> = gradient.iter().map(Tensor::zeros_like).collect();
        let norm =
            |s: &ErrorFeedback| s.state.tensors().iter().flatten().map(|c| f64::from(c * c)).sum::<f64>();
        let first = norm(&state);
        for _ in 0..200 {
            state.encode(&nothing).unwrap();
        }
        assert!(norm(&state) < first * 1e-2, "{first} {}", norm(&state));
        state.clear();
        assert_eq!(norm(&state), 0.0);
    }
}

#[test]
fn a_restarted_miner_sends_the_same_bytes() {
    for layout in both() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.safetensors");
        let mut state = ErrorFeedback::new(&layout);
        state.encode(&gradients(&layout, 3)).unwrap();
        let note = BTreeMap::from([("window".to_owned(), "3".to_owned())]);
        state.save(&path, &note).unwrap();
        let (mut again, read) = ErrorFeedback::load(&layout, &path).unwrap();
        assert_eq!(read, note);
        let next = gradients(&layout, 4);
        assert_eq!(again.encode(&next).unwrap(), state.encode(&next).unwrap());
        // Without the state it would be something else.
        assert_ne!(ErrorFeedback::new(&layout).encode(&next).unwrap(), state.encode(&next).unwrap());
    }
}

#[test]
fn a_state_of_the_first_version_is_transformed() {
    let [layout, _] = both();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("momentum.safetensors");
    let momentum = gradients(&layout, 5);
    let names = layout.tensors().iter().map(|t| t.name.as_str());
    write_tensors(&path, &names.zip(&momentum).collect::<Vec<_>>(), &BTreeMap::new()).unwrap();
    let (mut state, _) = ErrorFeedback::load(&layout, &path).unwrap();
    // The next window of a miner with that momentum: 0.9 m + g.
    let next = gradients(&layout, 6);
    let sum: Vec<Tensor> = momentum.iter().zip(&next).map(|(m, g)| m * f64::from(0.9f32) + g).collect();
    let expected = ErrorFeedback::new(&layout).encode(&sum).unwrap();
    let found = state.encode(&next).unwrap();
    let alike = |a: &SparseTensor, b: &SparseTensor| {
        let same = a.positions.iter().zip(&b.positions).filter(|(a, b)| a == b).count();
        same * 100 >= a.positions.len() * 99
    };
    assert!(found.iter().zip(&expected).all(|(a, b)| alike(a, b)));
}

#[test]
fn a_state_of_a_later_version_or_another_model_is_refused() {
    let [layout, other] = both();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    let tensors = gradients(&layout, 7);
    let names = layout.tensors().iter().map(|t| t.name.as_str());
    let later = BTreeMap::from([("format".to_owned(), "templar error feedback 3".to_owned())]);
    write_tensors(&path, &names.zip(&tensors).collect::<Vec<_>>(), &later).unwrap();
    let error = ErrorFeedback::load(&layout, &path).unwrap_err().to_string();
    assert!(
        error.contains("`templar error feedback 3`, this program reads `templar error feedback 2`"),
        "{error}"
    );
    let shapes = [("a".to_owned(), vec![128, 64])];
    let small = Layout::new(&shapes, other.codec().settings(), 2).unwrap();
    ErrorFeedback::new(&small).save(&path, &BTreeMap::new()).unwrap();
    assert!(matches!(ErrorFeedback::load(&layout, &path), Err(ModelError::OtherModel { .. })));
}

#[test]
fn bad_gradients_are_refused_and_change_nothing() {
    for layout in both() {
        let mut state = ErrorFeedback::new(&layout);
        state.encode(&gradients(&layout, 5)).unwrap();
        let before = state.state.tensors().to_vec();
        let good = || gradients(&layout, 6);
        for bad in [f64::NAN, f64::INFINITY, 1e37] {
            let wrong = good();
            let _ = wrong[3].narrow(0, 0, 1).fill_(bad);
            assert_eq!(state.encode(&wrong), Err(EncodeError::NotFinite("d".to_owned()).into()));
        }
        assert_eq!(state.encode(&good()[..2]), Err(EncodeError::Count { found: 2, expected: 4 }.into()));
        let mut wrong = good();
        wrong[0] = wrong[0].narrow(0, 0, 100);
        assert!(matches!(state.encode(&wrong), Err(CompressError::Encode(EncodeError::Length { .. }))));
        assert_eq!(before, state.state.tensors());
    }
}

#[test]
fn a_gradient_that_lies_otherwise_is_the_same() {
    for layout in both() {
        let straight = gradients(&layout, 8);
        let mut turned: Vec<Tensor> = straight.iter().map(Tensor::shallow_clone).collect();
        turned[0] = straight[0].tr().contiguous().tr();
        turned[2] = straight[2].to_kind(Kind::Double);
        let [a, b] = [straight, turned].map(|g| ErrorFeedback::new(&layout).encode(&g).unwrap());
        assert_eq!(a, b);
    }
}

#[test]
fn what_was_not_sent_is_put_back_and_what_was_sent_is_not_kept() {
    for layout in both() {
        let sums = |state: &ErrorFeedback| state.state.tensors().concat();
        let (first, second) = (gradients(&layout, 5), gradients(&layout, 6));
        let mut before = ErrorFeedback::new(&layout);
        before.encode(&first).unwrap();
        let file = tempfile::tempdir().unwrap();
        let path = file.path().join("state.safetensors");
        before.save(&path, &BTreeMap::new()).unwrap();
        let old = || ErrorFeedback::load(&layout, &path).unwrap().0;

        // Without a gradient a window only decays; put back, that is all that is seen of it.
        let nothing: Vec<Tensor> = first.iter().map(Tensor::zeros_like).collect();
        let (mut state, beta) = (old(), layout.codec().settings().momentum as f32);
        let sent = state.encode(&nothing).unwrap();
        assert_ne!(sums(&state), sums(&old()).iter().map(|c| c * beta).collect::<Vec<_>>());
        state.put_back(&sent).unwrap();
        for (found, whole) in sums(&state).iter().zip(sums(&old())) {
            assert!((found - whole * beta).abs() <= whole.abs() * 1e-6 + 1e-12, "{found} {whole}");
        }

        // Of the old state stays what was not sent since.
        let mut state = old();
        let sent = state.encode(&second).unwrap();
        let mut late = old();
        late.was_sent(&sent, true).unwrap();
        let (late, old) = (sums(&late), sums(&old()));
        let zeros = late.iter().filter(|c| **c == 0.0).count();
        let positions: usize = sent.iter().map(|s| s.positions.len()).sum();
        assert!(zeros >= positions, "{zeros} of {positions}");
        assert!(late.iter().zip(&old).all(|(found, old)| *found == 0.0 || *found == old * beta));
        assert!(ErrorFeedback::new(&layout).put_back(&sent[1..]).is_err());
    }
}

/// With a GPU's kernels, emulated: what is sent, what is kept, what is on disk and what is put back are a processor's.
#[test]
fn a_gpu_sends_the_same_and_keeps_the_rest() {
    let layouts = [
        CompressConfig { values: codec::Values::One, ..CompressConfig::demo(0.9, 64, 256) },
        CompressConfig::demo(0.9, 64, 32),
        CompressConfig::sparse_loco(0.95, 64, 64),
    ];
    for settings in layouts {
        let layout = layout(&settings);
        let kernels = || Some(Kernels::new(Arc::new(Emulator::new()), Device::Cpu));
        let (mut here, mut there) = (ErrorFeedback::new(&layout), ErrorFeedback::new(&layout));
        let alike = |here: &mut ErrorFeedback, there: &mut ErrorFeedback| {
            let same = |a: &f32, b: &f32| (a - b).abs() < 1e-6;
            let (here, there) = (here.here().tensors().iter(), there.here().tensors().iter());
            let both: Vec<(f32, f32)> = here.flatten().copied().zip(there.flatten().copied()).collect();
            // Where two coefficients are as large as each other one way sends the one and the other the other.
            let other = both.iter().filter(|(a, b)| !same(a, b)).count();
            assert!(other * 1000 <= both.len(), "{other} of {}, {settings:?}", both.len());
        };
        let first = gradients(&layout, 1);
        let (expected, sent) = (here.encode(&first).unwrap(), there.encode_with(&first, kernels).unwrap());
        assert!(there.there.is_some() && there.state.tensors().iter().flatten().all(|c| *c == 0.0));
        for ((sent, expected), layout) in sent.iter().zip(&expected).zip(layout.tensors()) {
            assert!(sent.fits(layout), "{settings:?} {}", layout.name);
            let same = sent.positions.iter().zip(&expected.positions).filter(|(a, b)| a == b).count();
            assert!(same * 100 >= 98 * layout.kept_values(), "{same}, {settings:?} {}", layout.name);
        }
        // It stays there, and is on disk as it would be from here.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.safetensors");
        there.save(&path, &BTreeMap::new()).unwrap();
        assert!(there.there.is_some());
        let (mut read, _) = ErrorFeedback::load(&layout, &path).unwrap();
        alike(&mut read, &mut here);
        let second = gradients(&layout, 2);
        let again = read.encode_with(&second, kernels).unwrap();
        assert_eq!(again, there.encode_with(&second, || panic!("they are there")).unwrap());
        here.encode(&second).unwrap();
        alike(&mut here, &mut read);
        // What was not sent is put back; what is not finite is refused, and changes nothing.
        there.put_back(&again).unwrap();
        assert!(there.there.is_none(), "it comes back for it");
        let mut broken = gradients(&layout, 3);
        broken[1] = broken[1].full_like(f64::NAN);
        let before = there.here().tensors().to_vec();
        let refused = there.encode_with(&broken, kernels).unwrap_err();
        assert_eq!(refused, CompressError::Encode(EncodeError::NotFinite("b".to_owned())));
        assert_eq!(there.here().tensors(), before);
        assert!(there.encode_with(&broken[..2], kernels).is_err());
        there.clear();
        assert!(there.here().tensors().iter().flatten().all(|c| *c == 0.0));
    }
}
