//! Texts with numbers, for what would otherwise repeat them. They lie in the header's page from 36,864 on, in the order of their numbers: a
//! length in 2 bytes, then the text in UTF-8. A length of 0 ends the list.

use super::{error::Damaged, layout::SEGMENT_BYTES, segments::Segments};
use ic_stable_structures::Memory;

const AT: u64 = 36_864;

/// In bytes, the two zeros at the end included.
const ROOM: usize = (SEGMENT_BYTES - AT) as usize;

/// The texts of a memory.
pub(crate) struct Texts {
    texts: Vec<String>,
    /// Bytes in use.
    used: usize,
}

impl Texts {
    pub(super) fn open<M: Memory>(segments: &Segments<M>) -> Result<Self, Damaged> {
        let mut texts = Self {
            texts: vec![],
            used: 0,
        };
        while texts.used + 2 <= ROOM {
            let (mut length, at) = ([0; 2], AT + texts.used as u64);
            segments.memory.read(at, &mut length);
            let length = usize::from(u16::from_le_bytes(length));
            if length == 0 {
                break;
            }
            texts.used += 2 + length;
            if texts.used > ROOM {
                return Err(Damaged);
            }
            let mut text = vec![0; length];
            segments.memory.read(at + 2, &mut text);
            texts
                .texts
                .push(String::from_utf8(text).map_err(|_| Damaged)?);
        }
        Ok(texts)
    }

    /// The number of a text, which gets one if it has none; `None` if it is empty, or there is no room for it.
    pub(crate) fn number<M: Memory>(&mut self, segments: &Segments<M>, text: &str) -> Option<u16> {
        if let Some(number) = self.texts.iter().position(|known| known == text) {
            return u16::try_from(number).ok();
        }
        let number = u16::try_from(self.texts.len()).ok()?;
        let length = u16::try_from(text.len()).ok()?;
        if length == 0 || self.used + 4 + text.len() > ROOM {
            return None;
        }
        // Two zeros follow already: nothing was ever written there.
        let bytes = [&length.to_le_bytes(), text.as_bytes()].concat();
        segments.memory.write(AT + self.used as u64, &bytes);
        self.used += bytes.len();
        self.texts.push(text.to_owned());
        Some(number)
    }

    pub(crate) fn text(&self, number: u16) -> Option<&str> {
        self.texts.get(usize::from(number)).map(String::as_str)
    }
}
