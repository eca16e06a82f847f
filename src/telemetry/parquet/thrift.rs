//! Thrift's compact protocol, as much of it as the footer and the page headers of a Parquet file need.

/// Types of Thrift's compact protocol.
pub(super) const INT: u8 = 5;
const LONG: u8 = 6;
pub(super) const BINARY: u8 = 8;
const LIST: u8 = 9;
pub(super) const STRUCT: u8 = 12;

/// A structure in Thrift's compact protocol; fields ascend.
#[derive(Default)]
pub(super) struct Thrift {
    bytes: Vec<u8>,
    last: u8,
}

impl Thrift {
    fn field(&mut self, id: u8, kind: u8) {
        // Fields of these structures are never more than 15 apart.
        self.bytes.push((id - self.last) << 4 | kind);
        self.last = id;
    }

    pub(super) fn int(&mut self, id: u8, value: i32) {
        self.field(id, INT);
        self.bytes.extend(zigzag(value.into()));
    }

    pub(super) fn integer(&mut self, id: u8, value: i64) {
        self.field(id, LONG);
        self.bytes.extend(zigzag(value));
    }

    pub(super) fn text(&mut self, id: u8, text: &str) {
        self.field(id, BINARY);
        self.bytes.extend(binary(text));
    }

    pub(super) fn structure(&mut self, id: u8, bytes: Vec<u8>) {
        self.field(id, STRUCT);
        self.bytes.extend(bytes);
    }

    pub(super) fn list(&mut self, id: u8, kind: u8, elements: &[Vec<u8>]) {
        self.field(id, LIST);
        if elements.len() < 15 {
            self.bytes.push((elements.len() as u8) << 4 | kind);
        } else {
            self.bytes.push(0xf0 | kind);
            varint(&mut self.bytes, elements.len() as u64);
        }
        self.bytes.extend(elements.concat());
    }

    pub(super) fn end(mut self) -> Vec<u8> {
        self.bytes.push(0);
        self.bytes
    }
}

pub(super) fn varint(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

pub(super) fn zigzag(value: i64) -> Vec<u8> {
    let mut bytes = Vec::new();
    varint(&mut bytes, (value << 1 ^ value >> 63) as u64);
    bytes
}

pub(super) fn binary(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    varint(&mut bytes, text.len() as u64);
    bytes.extend(text.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_thrift_wants_them() {
        assert_eq!(zigzag(0), [0]);
        assert_eq!(zigzag(-1), [1]);
        assert_eq!(zigzag(64), [0x80, 1]);
        assert_eq!(zigzag(i64::MIN).len(), 10);
        let mut list = Thrift::default();
        list.list(2, INT, &vec![zigzag(1); 15]);
        assert_eq!(list.end()[..3], [0x29, 0xf5, 15]);
    }
}
