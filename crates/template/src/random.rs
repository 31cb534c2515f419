//! Where randomness comes from.

/// A source of random bytes.
pub trait Random {
    /// Fills `bytes` with random ones.
    ///
    /// # Errors
    ///
    /// When the source has none.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), NoRandomness>;
}

/// The source has no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random bytes")]
pub struct NoRandomness;

/// The randomness of the operating system, which is fit for passwords.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
        getrandom::fill(bytes).map_err(|_| NoRandomness)
    }
}

/// Numbers below a bound, each as likely as the others.
pub(crate) struct Draw<'r> {
    random: &'r mut dyn Random,
    bytes: [u8; 64],
    left: usize,
}

impl<'r> Draw<'r> {
    pub(crate) fn new(random: &'r mut dyn Random) -> Self {
        Self {
            random,
            bytes: [0; 64],
            left: 0,
        }
    }

    /// A number below `bound`, which is from 1 to 256.
    pub(crate) fn below(&mut self, bound: usize) -> Result<usize, NoRandomness> {
        // The largest multiple of the bound that a byte can be below; others would make small numbers more likely.
        let fair = 256 - 256 % bound;
        loop {
            if self.left == 0 {
                self.random.fill(&mut self.bytes)?;
                self.left = self.bytes.len();
            }
            self.left -= 1;
            let byte = usize::from(self.bytes[self.left]);
            if byte < fair {
                return Ok(byte % bound);
            }
        }
    }
}
