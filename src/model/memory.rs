//! The memory of tensors as bytes, without a copy. The only place of the model that is `unsafe`.

use tch::{Device, Kind, Tensor};
use templar_kernels::Span;

#[cfg(target_endian = "big")]
compile_error!("weights are little-endian in files and hashes; this machine's are not");

/// Shows the bytes of a tensor's elements, in row-major order; one that is elsewhere or laid out otherwise is copied first.
#[allow(unsafe_code, reason = "libtorch's memory is read in place")]
pub(crate) fn with_bytes<T>(tensor: &Tensor, work: impl FnOnce(&[u8]) -> T) -> T {
    let tensor = tensor.detach().to_device(Device::Cpu).contiguous();
    let length = tensor.numel() * tensor.kind().elt_size_in_bytes();
    if length == 0 {
        return work(&[]);
    }
    // SAFETY: the tensor is contiguous and in this process's memory, so `length` bytes follow its first element; `tensor`
    // keeps them until `work` has returned, and nothing writes to them meanwhile: training and reading do not run side by
    // side on one model.
    work(unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast::<u8>(), length) })
}

/// The elements of a float32 tensor that is contiguous and on the CPU.
#[allow(unsafe_code, reason = "libtorch's memory is read in place")]
pub(crate) fn floats_in_place(tensor: &Tensor) -> Option<&[f32]> {
    let here = tensor.device() == Device::Cpu && tensor.kind() == Kind::Float && tensor.is_contiguous();
    if !here || tensor.numel() == 0 {
        return None;
    }
    // SAFETY: as in `with_bytes`; libtorch aligns its memory to 64 bytes and views to whole elements, and `tensor` keeps it
    // for as long as it is borrowed.
    Some(unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast::<f32>(), tensor.numel()) })
}

/// The same to be written to. The tensor is one that the caller alone works on, such as a parameter between two steps.
#[allow(unsafe_code, reason = "libtorch's memory is written in place")]
pub(crate) fn floats_in_place_mut(tensor: &mut Tensor) -> Option<&mut [f32]> {
    let here = tensor.device() == Device::Cpu && tensor.kind() == Kind::Float && tensor.is_contiguous();
    if !here || tensor.numel() == 0 {
        return None;
    }
    // SAFETY: as in `floats_in_place`; others that share the memory do not touch it before the borrow ends, because models
    // are trained, stepped and read one after the other.
    Some(unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast::<f32>(), tensor.numel()) })
}

/// The elements of a tensor for a kernel of the device that it is on; none of one that does not lie in one piece.
#[allow(unsafe_code, reason = "kernels are given libtorch's memory")]
pub(crate) fn span(tensor: &Tensor) -> Span {
    let length = if tensor.is_contiguous() { tensor.numel() } else { 0 };
    // SAFETY: so many elements follow the first. Kernels run in the order of libtorch's own work, in which memory that a tensor gave
    // back is used by nothing before; what a pass writes is its own, and parameters change between passes only. libtorch aligns
    // memory to 64 bytes, and views of a pass begin at rows, whose widths are multiples of 16 bytes.
    unsafe { Span::new(tensor.data_ptr() as u64, length) }
}

/// Shows the elements of some tensors, in row-major order; those that are elsewhere or laid out otherwise are copied first.
pub(crate) fn with_floats<T>(tensors: &[Tensor], work: impl FnOnce(&[&[f32]]) -> T) -> T {
    let here: Vec<Tensor> =
        tensors.iter().map(|t| t.detach().to_device(Device::Cpu).to_kind(Kind::Float).contiguous()).collect();
    let floats: Vec<&[f32]> = here.iter().map(|t| floats_in_place(t).unwrap_or(&[])).collect();
    work(&floats)
}

/// A tensor of this shape whose elements `fill` writes, all of them; they are zero before.
#[allow(unsafe_code, reason = "libtorch's memory is written in place")]
pub(crate) fn made<T: tch::kind::Element>(shape: &[i64], fill: impl FnOnce(&mut [T])) -> Tensor {
    let tensor = Tensor::zeros(shape, (T::KIND, Device::Cpu));
    if tensor.numel() > 0 {
        // SAFETY: as in `filled`; the tensor's kind is that of `T`.
        fill(unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast::<T>(), tensor.numel()) });
    }
    tensor
}

/// A tensor of this shape whose bytes `fill` writes, all of them; they are zero before.
#[allow(unsafe_code, reason = "libtorch's memory is written in place")]
pub(crate) fn filled<E>(
    shape: &[i64],
    kind: Kind,
    fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
) -> Result<Tensor, E> {
    let tensor = Tensor::zeros(shape, (kind, Device::Cpu));
    let length = tensor.numel() * kind.elt_size_in_bytes();
    if length > 0 {
        // SAFETY: the tensor is new, contiguous and in this process's memory, and nobody else has it yet. Any bytes are
        // numbers of the kinds that are read here.
        fill(unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast::<u8>(), length) })?;
    }
    Ok(tensor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_the_elements() {
        let numbers = Tensor::from_slice(&[1.0f32, -2.0, 0.5, 3.0]).view([2, 2]);
        let expected: Vec<u8> = [1.0f32, 0.5, -2.0, 3.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(with_bytes(&numbers.transpose(0, 1), <[u8]>::to_vec), expected);
        assert_eq!(with_bytes(&numbers.to_kind(Kind::BFloat16), <[u8]>::len), 8);
        assert!(with_bytes(&Tensor::zeros([0], (Kind::Float, Device::Cpu)), <[u8]>::is_empty));
        let read = filled(&[2, 2], Kind::Float, |bytes| {
            bytes.copy_from_slice(&expected);
            Ok::<(), ()>(())
        });
        assert_eq!(read.unwrap(), numbers.transpose(0, 1));
        assert_eq!(filled(&[1], Kind::Float, |_| Err("no")).unwrap_err(), "no");
    }
}
