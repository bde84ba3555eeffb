//! A file that is read in parts, so that weights are in memory once: as the numbers that they are read for.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use model::artefact::{self, ArtefactError};

use crate::REMEDY;

/// An open file.
#[derive(Debug)]
pub(crate) struct Source {
    path: PathBuf,
    file: File,
    length: u64,
}

impl Source {
    /// Opens a file that is not empty.
    ///
    /// # Errors
    /// As [`artefact::open`].
    pub(crate) fn open(path: &Path) -> Result<Self, ArtefactError> {
        let (file, length) = artefact::open(path, REMEDY)?;
        Ok(Self { path: path.to_owned(), file, length })
    }

    /// Its length in bytes.
    pub(crate) const fn len(&self) -> u64 {
        self.length
    }

    /// Reads `n` bytes from `start` on.
    ///
    /// # Errors
    /// If the file ends before they do, which is found out before memory is taken for them.
    pub(crate) fn read(&self, start: u64, n: u64) -> Result<Vec<u8>, String> {
        let mut bytes = vec![0; self.checked(start, n)? as usize];
        self.reader(start, n)
            .and_then(|mut reader| reader.read_exact(&mut bytes))
            .map_err(|error| error.to_string())?;
        Ok(bytes)
    }

    /// Reads `n` bytes from `start` on, or those that there are.
    pub(crate) fn read_up_to(&self, start: u64, n: u64) -> Result<Vec<u8>, String> {
        self.read(start.min(self.length), n.min(self.length - start.min(self.length)))
    }

    /// What reads `n` bytes from `start` on, a piece at a time.
    ///
    /// # Errors
    /// If the system refuses.
    pub(crate) fn reader(&self, start: u64, n: u64) -> io::Result<io::Take<&File>> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(start))?;
        Ok(file.take(n))
    }

    /// SHA-256 of the file, in hexadecimal.
    ///
    /// # Errors
    /// If the system refuses.
    pub(crate) fn checksum(&self) -> Result<String, ArtefactError> {
        let io_error = |cause| ArtefactError::Io { path: self.path.clone(), cause, remedy: REMEDY };
        self.reader(0, self.length).and_then(artefact::sha256_of_reader).map_err(io_error)
    }

    fn checked(&self, start: u64, n: u64) -> Result<u64, String> {
        match start.checked_add(n) {
            Some(end) if end <= self.length => Ok(n),
            _ => Err(format!("the file ends at {} bytes, before what it says lies in it", self.length)),
        }
    }
}
