//! Memory for kernels that notices when they read or write beside it.

#![allow(unsafe_code, reason = "kernels are given addresses")]

use templar_kernels::{Kind, Span};

/// Words on each side of a buffer; as numbers they are not numbers, so that a kernel that reads them gives none.
const MARGIN: usize = 4;
const MARK: u128 = u128::MAX;

/// Numbers of one kind.
pub struct Buffer {
    words: Vec<u128>,
    length: usize,
    size: usize,
}

impl Buffer {
    fn of_bytes(bytes: &[u8], size: usize) -> Self {
        let words = bytes.len().div_ceil(16);
        let mut buffer = Self { words: vec![MARK; words + 2 * MARGIN], length: bytes.len() / size, size };
        for (word, part) in buffer.words[MARGIN..].iter_mut().zip(bytes.chunks(16)) {
            let mut whole = [u8::MAX; 16];
            whole[..part.len()].copy_from_slice(part);
            *word = u128::from_le_bytes(whole);
        }
        buffer
    }

    pub fn floats(values: &[f32]) -> Self {
        Self::of_bytes(&values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>(), 4)
    }

    /// Of float32 or bf16.
    pub fn of(kind: Kind, values: &[f32]) -> Self {
        match kind {
            Kind::F32 => Self::floats(values),
            Kind::Bf16 => {
                let narrow = |v: &f32| ((v.to_bits() + 0x7fff + (v.to_bits() >> 16 & 1)) >> 16) as u16;
                Self::of_bytes(&values.iter().flat_map(|v| narrow(v).to_le_bytes()).collect::<Vec<u8>>(), 2)
            }
        }
    }

    pub fn longs(values: &[i64]) -> Self {
        Self::of_bytes(&values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>(), 8)
    }

    pub fn doubles(values: &[f64]) -> Self {
        Self::of_bytes(&values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>(), 8)
    }

    /// Whole numbers of 16 bits.
    pub fn shorts(values: &[u16]) -> Self {
        Self::of_bytes(&values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>(), 2)
    }

    pub fn bytes(values: &[u8]) -> Self {
        Self::of_bytes(values, 1)
    }

    pub fn signs(values: &[i8]) -> Self {
        Self::of_bytes(&values.iter().map(|v| *v as u8).collect::<Vec<u8>>(), 1)
    }

    pub fn span(&mut self) -> Span {
        // SAFETY: the memory is the buffer's, which the tests keep until they have read the results.
        unsafe { Span::new(self.words[MARGIN..].as_mut_ptr() as u64, self.length) }
    }

    /// The bytes; nothing was written beside them.
    pub fn raw(&self) -> Vec<u8> {
        let bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let (inside, end) = (16 * MARGIN, 16 * MARGIN + self.length * self.size);
        assert!(bytes[..inside].iter().chain(&bytes[end..]).all(|b| *b == u8::MAX), "written beside");
        bytes[inside..end].to_vec()
    }

    /// As whole numbers of 16 bits.
    pub fn words(&self) -> Vec<u16> {
        self.raw().chunks(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect()
    }

    /// As float64.
    pub fn wide(&self) -> Vec<f64> {
        self.raw().chunks(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
    }

    /// As the floats that it was made of.
    pub fn values(&self) -> Vec<f32> {
        let bytes = self.raw();
        match self.size {
            4 => bytes.chunks(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            2 => bytes.chunks(2).map(|b| f32::from_bits(u32::from_le_bytes([0, 0, b[0], b[1]]))).collect(),
            _ => panic!("these are not floats"),
        }
    }
}
