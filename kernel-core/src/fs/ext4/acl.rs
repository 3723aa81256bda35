//! Access control lists as ext4 has them on disk: the entries of an attribute, but without ids where there are none. Source: the
//! ext4 disk layout, "Extended Attributes", `a_acl_header`.

use alloc::vec::Vec;

use crate::errno::{EIO, Result};

/// The version of the form on disk, and of that in attributes.
const ON_DISK: [u8; 4] = 1u32.to_le_bytes();
const IN_ATTRIBUTE: [u8; 4] = 2u32.to_le_bytes();
/// Tags of entries with an id: named users and groups.
const NAMED: [u16; 2] = [2, 8];

fn has_id(tag: [u8; 2]) -> bool {
    NAMED.contains(&u16::from_le_bytes(tag))
}

/// From an attribute, which is valid.
pub fn to_disk(attribute: &[u8]) -> Vec<u8> {
    let mut bytes = ON_DISK.to_vec();
    for entry @ [low, high, ..] in attribute.get(4..).unwrap_or_default().as_chunks::<8>().0 {
        bytes.extend_from_slice(if has_id([*low, *high]) { entry } else { &entry[..4] });
    }
    bytes
}

/// To an attribute. EIO: it is damaged.
pub fn from_disk(bytes: &[u8]) -> Result<Vec<u8>> {
    let (version, mut rest) = bytes.split_first_chunk().ok_or(EIO)?;
    if *version != ON_DISK {
        return Err(EIO);
    }
    let mut attribute = IN_ATTRIBUTE.to_vec();
    while !rest.is_empty() {
        let (entry, after) = rest.split_first_chunk::<4>().ok_or(EIO)?;
        let (id, after) = match has_id([entry[0], entry[1]]) {
            true => after.split_first_chunk::<4>().ok_or(EIO)?,
            false => (&[0xff; 4], after),
        };
        attribute.extend_from_slice(entry);
        attribute.extend_from_slice(id);
        rest = after;
    }
    Ok(attribute)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_kept_where_there_are_some() {
        let entry = |tag: u8, id: u8| [tag, 0, 6, 0, id, id, id, id];
        let attribute = [&IN_ATTRIBUTE[..], &entry(1, 0xff), &entry(2, 5), &entry(4, 0xff)].concat();
        let disk = to_disk(&attribute);
        assert_eq!(disk.len(), 4 + 4 + 8 + 4);
        assert_eq!(from_disk(&disk), Ok(attribute));
        assert_eq!(from_disk(&disk[..14]), Err(EIO));
        assert_eq!(from_disk(&[2, 0, 0, 0]), Err(EIO));
    }
}
