//! Files of the host as the kernel takes bytes: mapped, so that they cost only what is used of them.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use host_linux::mapped::MappedFile;
use kernel_core::mm::cache::Blob;

struct Mapped(MappedFile);

impl Blob for Mapped {
    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn done_with(&self, range: Range<usize>) {
        self.0.unload(range);
    }
}

/// The bytes of a regular file that is not empty. Whoever changes it replaces it, see [`MappedFile`].
pub fn blob(file: &File) -> io::Result<Arc<dyn Blob>> {
    Ok(Arc::new(Mapped(MappedFile::new(file)?)))
}
