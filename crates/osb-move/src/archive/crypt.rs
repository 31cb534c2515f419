//! Encrypted archives: one line in the clear, then the text of the archive in pieces.
//!
//! ```text
//! {"osb-backup-encrypted":{"version":1,"key":"0b8cdfe2a8f2c0bb","salt":"…"}}
//! ```
//!
//! A piece is its length (4 bytes, big-endian), and so many bytes of AES-256-GCM with their tag. The key of a file is
//! derived by HKDF-SHA256 from the given one and the file's random salt; the nonce is the number of the piece, and
//! whether it is the last one; the associated data is the first line. Pieces that are missing, doubled or in another
//! order do not open, and what is cut off has no last one.

use std::io::{self, BufRead, Read, Write};

use osb_engine::{KEY_BYTES, Keys};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};

use super::{ArchiveError, hex};

/// The longest first line.
pub(super) const MAX_HEAD_BYTES: u64 = 1024;

const PIECE_BYTES: usize = 1 << 16;
const SALT_BYTES: usize = 32;
const CRYPT_VERSION: u32 = 1;

/// A key for archives.
#[derive(Clone)]
pub struct Key([u8; KEY_BYTES]);

impl Key {
    /// The key of these bytes.
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// Its public id, which an archive names.
    pub fn id(&self) -> String {
        Keys::new(self.0, []).ids().into_iter().next().unwrap_or_default()
    }

    fn of_file(&self, salt: &[u8]) -> Result<LessSafeKey, ArchiveError> {
        let pseudo_random = Salt::new(HKDF_SHA256, salt).extract(&self.0);
        let info = [b"osb archive".as_slice()];
        let output = pseudo_random.expand(&info, &AES_256_GCM);
        let output = output.map_err(|_| ArchiveError::Damaged("its key cannot be derived"))?;
        Ok(LessSafeKey::new(UnboundKey::from(output)))
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Key").field(&self.id()).finish()
    }
}

#[derive(Serialize, Deserialize)]
struct HeadLine {
    #[serde(rename = "osb-backup-encrypted")]
    head: Head,
}

/// The line in the clear.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Head {
    version: u32,
    /// The public id of the key.
    pub(super) key: String,
    salt: String,
}

impl Head {
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        Some(serde_json::from_slice::<HeadLine>(line).ok()?.head)
    }

    fn salt(&self) -> Option<Vec<u8>> {
        let bytes = self.salt.as_bytes();
        let digit = |digit: u8| char::from(digit).to_digit(16);
        let pair = |pair: &[u8]| u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok();
        (bytes.len() == 2 * SALT_BYTES).then(|| bytes.chunks_exact(2).map(pair).collect())?
    }
}

/// Whether a piece is the last one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Inner,
    Last,
}

fn nonce(number: u64, place: Place) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes[NONCE_LEN - 1] = u8::from(place == Place::Last);
    Nonce::assume_unique_for_key(bytes)
}

/// Encrypts what is written.
pub struct Encrypt<W> {
    out: W,
    key: LessSafeKey,
    head: Vec<u8>,
    piece: Vec<u8>,
    number: u64,
}

impl<W: Write> Encrypt<W> {
    /// Begins an encrypted archive.
    ///
    /// # Errors
    /// [`ArchiveError::Io`], [`ArchiveError::NoRandomness`].
    pub fn new(mut out: W, key: &Key) -> Result<Self, ArchiveError> {
        let mut salt = [0; SALT_BYTES];
        let random = SystemRandom::new().fill(&mut salt);
        random.map_err(|_| ArchiveError::NoRandomness)?;
        let head = Head {
            version: CRYPT_VERSION,
            key: key.id(),
            salt: hex(&salt),
        };
        let mut head = serde_json::to_vec(&HeadLine { head }).map_err(io::Error::other)?;
        head.push(b'\n');
        out.write_all(&head)?;
        Ok(Self {
            out,
            key: key.of_file(&salt)?,
            head,
            piece: Vec::with_capacity(PIECE_BYTES + AES_256_GCM.tag_len()),
            number: 0,
        })
    }

    /// Writes the last piece.
    ///
    /// # Errors
    /// [`ArchiveError::Io`].
    pub fn finish(mut self) -> Result<W, ArchiveError> {
        self.seal(Place::Last)?;
        Ok(self.out)
    }

    fn seal(&mut self, place: Place) -> io::Result<()> {
        let mut piece = std::mem::take(&mut self.piece);
        let sealed = self
            .key
            .seal_in_place_append_tag(nonce(self.number, place), Aad::from(&self.head), &mut piece);
        sealed.map_err(|_| io::Error::other("the archive is too large to be encrypted"))?;
        self.number += 1;
        let length = u32::try_from(piece.len()).map_err(io::Error::other)?;
        self.out.write_all(&length.to_be_bytes())?;
        self.out.write_all(&piece)?;
        piece.clear();
        self.piece = piece;
        Ok(())
    }
}

impl<W: Write> Write for Encrypt<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.len() == PIECE_BYTES {
            self.seal(Place::Inner)?;
        }
        let some = bytes.len().min(PIECE_BYTES - self.piece.len());
        self.piece.extend_from_slice(&bytes[..some]);
        Ok(some)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Decrypts what is read. Nothing is given out that was not found right.
pub(super) struct Decrypt<R> {
    from: R,
    key: LessSafeKey,
    head: Vec<u8>,
    piece: Vec<u8>,
    given: usize,
    number: u64,
    ended: bool,
}

impl<R: BufRead> Decrypt<R> {
    pub(super) fn new(mut from: R, key: &Key) -> Result<Self, ArchiveError> {
        let mut head = Vec::new();
        from.by_ref().take(MAX_HEAD_BYTES).read_until(b'\n', &mut head)?;
        let parsed = Head::parse(&head).ok_or(ArchiveError::Foreign)?;
        if parsed.version > CRYPT_VERSION {
            return Err(ArchiveError::Newer(parsed.version));
        }
        let salt = parsed
            .salt()
            .ok_or(ArchiveError::Damaged("its first line makes no sense"))?;
        Ok(Self {
            from,
            key: key.of_file(&salt)?,
            head,
            piece: Vec::new(),
            given: 0,
            number: 0,
            ended: false,
        })
    }

    fn open_next(&mut self) -> Result<(), ArchiveError> {
        let mut length = [0; 4];
        fill(&mut self.from, &mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        let tag = AES_256_GCM.tag_len();
        if !(tag..=PIECE_BYTES + tag).contains(&length) {
            return Err(ArchiveError::Damaged("a piece has an impossible length"));
        }
        self.piece.resize(length, 0);
        fill(&mut self.from, &mut self.piece)?;
        // Nothing behind it: only the last piece may stand there.
        let place = if self.from.fill_buf()?.is_empty() {
            Place::Last
        } else {
            Place::Inner
        };
        let opened = self
            .key
            .open_in_place(nonce(self.number, place), Aad::from(&self.head), &mut self.piece);
        let plain = match opened {
            Ok(plain) => plain.len(),
            Err(_) if place == Place::Last => {
                return Err(ArchiveError::Damaged("its last piece is damaged or missing"));
            }
            Err(_) => return Err(ArchiveError::Damaged("a piece does not open")),
        };
        self.piece.truncate(plain);
        self.given = 0;
        self.number += 1;
        self.ended = place == Place::Last;
        Ok(())
    }
}

impl<R: BufRead> Read for Decrypt<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.given == self.piece.len() {
            if self.ended {
                return Ok(0);
            }
            self.open_next().map_err(io::Error::other)?;
        }
        let some = into.len().min(self.piece.len() - self.given);
        into[..some].copy_from_slice(&self.piece[self.given..self.given + some]);
        self.given += some;
        Ok(some)
    }
}

fn fill(from: &mut impl Read, into: &mut [u8]) -> Result<(), ArchiveError> {
    from.read_exact(into).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => ArchiveError::Truncated,
        _ => ArchiveError::Io(error),
    })
}

/// What is behind an error that came through [`Read`].
pub(super) fn cause(error: ArchiveError) -> ArchiveError {
    match error {
        ArchiveError::Io(io) => match io.downcast::<ArchiveError>() {
            Ok(cause) => cause,
            Err(io) => ArchiveError::Io(io),
        },
        other => other,
    }
}
