//! Addresses of local sockets: `struct sockaddr_un`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::errno::{EINVAL, Result};

/// `AF_UNIX`.
pub const AF_UNIX: u16 = 1;
/// `AF_UNSPEC`: to dissolve an association.
pub const AF_UNSPEC: u16 = 0;
/// Bytes before the name.
const NAME_AT: usize = 2;
/// The longest address: a name of 108 bytes.
pub const MAX_LEN: usize = NAME_AT + 108;

/// A name of a socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Address {
    /// None.
    #[default]
    Unnamed,
    /// In the file system.
    Path(Arc<[u8]>),
    /// In a name space of its own; any bytes.
    Abstract(Arc<[u8]>),
}

impl Address {
    /// Of a `sockaddr_un` of that length; the family alone is [`Address::Unnamed`]. EINVAL.
    pub fn parse(raw: &[u8]) -> Result<Address> {
        let (Some(family), true) = (raw.first_chunk::<NAME_AT>(), raw.len() <= MAX_LEN) else {
            return Err(EINVAL);
        };
        if u16::from_ne_bytes(*family) != AF_UNIX {
            return Err(EINVAL);
        }
        Ok(match raw.get(NAME_AT..) {
            None | Some([]) => Address::Unnamed,
            Some([0, name @ ..]) => Address::Abstract(name.into()),
            Some(name) => {
                let len = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
                Address::Path(name[..len].into())
            }
        })
    }

    /// As a `sockaddr_un`, as long as it is.
    pub fn encode(&self) -> Vec<u8> {
        let mut raw = AF_UNIX.to_ne_bytes().to_vec();
        match self {
            Address::Unnamed => {}
            Address::Path(path) => {
                raw.extend_from_slice(path);
                raw.push(0);
            }
            Address::Abstract(name) => {
                raw.push(0);
                raw.extend_from_slice(name);
            }
        }
        raw
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_linux_takes() {
        assert_eq!(Address::parse(b"\x01\0"), Ok(Address::Unnamed));
        assert_eq!(Address::parse(b"\x01\0/a\0rest"), Ok(Address::Path(Arc::from(*b"/a"))));
        assert_eq!(Address::parse(b"\x01\0\0a\0"), Ok(Address::Abstract(Arc::from(*b"a\0"))));
        assert_eq!(Address::parse(b"\x01"), Err(EINVAL));
        assert_eq!(Address::parse(b"\x02\0/a"), Err(EINVAL));
        assert_eq!(Address::parse(&[1; MAX_LEN + 1]), Err(EINVAL));
        assert_eq!(Address::parse(b"\x01\0/a").unwrap().encode(), b"\x01\0/a\0");
    }
}
