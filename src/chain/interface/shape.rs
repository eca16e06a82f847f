//! What metadata says about one item, as one line that says the same for the same encoding.
//!
//! Names of types are not part of it, only what goes over the wire: a newtype is what it wraps, a bounded
//! vector is a vector.

use scale_info::{PortableRegistry, TypeDef, Variant, form::PortableForm};
use subxt::{Metadata, ext::frame_decode::storage::StorageHasher, metadata::StorageEntryMetadata};

/// Types nest less deeply than this.
const DEEPEST: usize = 16;

/// The shape of a type.
pub(super) fn of(types: &PortableRegistry, id: u32) -> String {
    nested(types, id, 0)
}

fn nested(types: &PortableRegistry, id: u32, depth: usize) -> String {
    let Some(found) = types.resolve(id) else { return "a type that is not there".to_owned() };
    match found.path.segments.last().map(String::as_str) {
        // Any call and any event of the whole runtime: another runtime has others, by design.
        Some("RuntimeCall") => return "call".to_owned(),
        Some("RuntimeEvent") => return "event".to_owned(),
        Some("DispatchError") => return "dispatch error".to_owned(),
        Some("DispatchInfo" | "DispatchEventInfo") => return "dispatch info".to_owned(),
        _ => {}
    }
    if depth > DEEPEST {
        return "a recursive type".to_owned();
    }
    let inner = |id| nested(types, id, depth + 1);
    match &found.type_def {
        TypeDef::Primitive(primitive) => format!("{primitive:?}").to_lowercase(),
        TypeDef::Compact(compact) => format!("compact {}", inner(compact.type_param.id)),
        TypeDef::Sequence(sequence) => format!("[{}]", inner(sequence.type_param.id)),
        TypeDef::Array(array) => format!("[{}; {}]", inner(array.type_param.id), array.len),
        TypeDef::Tuple(tuple) => list(tuple.fields.iter().map(|field| inner(field.id))),
        TypeDef::BitSequence(_) => "bits".to_owned(),
        TypeDef::Composite(composite) => match composite.fields.as_slice() {
            [only] => inner(only.ty.id),
            fields => fields_of(types, fields, depth),
        },
        TypeDef::Variant(variants) => {
            let variants: Vec<_> = variants.variants.iter().collect();
            let mut texts = Vec::new();
            let mut at = 0;
            while let Some(first) = variants.get(at) {
                let run = run_of_sizes(types, &variants[at..]);
                if run > 2 {
                    let last = variants[at + run - 1];
                    let (from, to) = (first.index, last.index);
                    texts.push(format!("{from}..{to} {}..{}[u8; n]", first.name, last.name));
                    at += run;
                } else {
                    texts.push(format!(
                        "{} {}{}",
                        first.index,
                        first.name,
                        variant_fields(types, first, depth)
                    ));
                    at += 1;
                }
            }
            format!("enum {{{}}}", texts.join(", "))
        }
    }
}

/// How many of the variants form a run `Name0`, `Name1([u8; 1])`, `Name2([u8; 2])`, …
fn run_of_sizes(types: &PortableRegistry, variants: &[&Variant<PortableForm>]) -> usize {
    variants
        .iter()
        .zip(0u32..)
        .take_while(|(variant, n)| {
            let size = match variant.fields.as_slice() {
                [] => 0,
                [field] => match types.resolve(field.ty.id).map(|found| &found.type_def) {
                    Some(TypeDef::Array(array)) => array.len,
                    _ => return false,
                },
                _ => return false,
            };
            size == *n
                && variant.name.ends_with(&n.to_string())
                && u32::from(variant.index) == u32::from(variants[0].index) + n
        })
        .count()
}

fn variant_fields(types: &PortableRegistry, variant: &Variant<PortableForm>, depth: usize) -> String {
    if variant.fields.is_empty() { String::new() } else { fields_of(types, &variant.fields, depth) }
}

fn fields_of(types: &PortableRegistry, fields: &[scale_info::Field<PortableForm>], depth: usize) -> String {
    list(fields.iter().map(|field| {
        let shape = nested(types, field.ty.id, depth + 1);
        field.name.as_ref().map_or(shape.clone(), |name| format!("{name}: {shape}"))
    }))
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("({})", items.collect::<Vec<_>>().join(", "))
}

/// A call's arguments by name and shape. Its indices are left out: they are resolved by name.
pub(super) fn call(metadata: &Metadata, pallet: &str, name: &str) -> Option<String> {
    let variant = metadata.pallet_by_name(pallet)?.call_variant_by_name(name)?;
    Some(fields_of(metadata.types(), &variant.fields, 0))
}

/// A storage entry: hashers, shapes of keys and value, and whether nothing there means a default.
pub(super) fn storage(metadata: &Metadata, pallet: &str, name: &str) -> Option<String> {
    let entry: &StorageEntryMetadata = metadata.pallet_by_name(pallet)?.storage()?.entry_by_name(name)?;
    let keys = entry.keys().map(|key| {
        let hasher = match key.hasher {
            StorageHasher::Identity => "identity",
            StorageHasher::Blake2_128Concat => "blake2_128_concat",
            StorageHasher::Twox64Concat => "twox64_concat",
            _ => "another hasher of",
        };
        format!("{hasher} {}", of(metadata.types(), key.key_id))
    });
    let nothing = if entry.default_value().is_some() { "default" } else { "none" };
    Some(format!("{} -> {} or {nothing}", list(keys), of(metadata.types(), entry.value_ty())))
}

/// An event's fields. Its index is left out: it is resolved by name.
pub(super) fn event(metadata: &Metadata, pallet: &str, name: &str) -> Option<String> {
    let found = metadata.pallet_by_name(pallet)?;
    let variant = found.event_variants()?.iter().find(|variant| variant.name == name)?;
    Some(fields_of(metadata.types(), &variant.fields, 0))
}

/// That an error of this name exists. Its index is left out: it is resolved by name.
pub(super) fn error(metadata: &Metadata, pallet: &str, name: &str) -> Option<String> {
    let found = metadata.pallet_by_name(pallet)?;
    found.error_variants()?.iter().any(|variant| variant.name == name).then(|| "exists".to_owned())
}

/// The arguments of a runtime's function. What it answers is taken apart by name.
pub(super) fn api(metadata: &Metadata, interface: &str, name: &str) -> Option<String> {
    let method = metadata.runtime_api_trait_by_name(interface)?.method_by_name(name)?;
    let inputs = method.inputs().map(|input| format!("{}: {}", input.name, of(metadata.types(), input.id)));
    Some(list(inputs))
}

/// A constant's type.
pub(super) fn constant(metadata: &Metadata, pallet: &str, name: &str) -> Option<String> {
    let found = metadata.pallet_by_name(pallet)?.constant_by_name(name)?;
    Some(of(metadata.types(), found.ty()))
}

/// What every signed transaction carries besides its call: the extensions that are more than a name.
pub(super) fn extensions(metadata: &Metadata) -> String {
    let types = metadata.types();
    let empty = |shape: &str| shape == "()";
    let carried = metadata.extrinsic().transaction_extensions_to_use_for_encoding().filter_map(|extension| {
        let (extra, implicit) = (of(types, extension.extra_ty()), of(types, extension.additional_ty()));
        let extra = if extra.len() > 200 { "era".to_owned() } else { extra };
        (!empty(&extra) || !empty(&implicit))
            .then(|| format!("{} {extra} + {implicit}", extension.identifier()))
    });
    format!("{:?}: {}", metadata.extrinsic().supported_versions(), carried.collect::<Vec<_>>().join("; "))
}
