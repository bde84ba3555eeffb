//! What a pickle names, without running it: its instructions are read one after another, and nothing is built.
//!
//! The tensors themselves are read by burn's reader, which runs nothing either, but keeps neither the order of a state
//! dict's names nor refuses what it does not know. For both, the text of the pickle is enough.

use std::collections::HashMap;

/// What instructions of a pickle name.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Mentions {
    /// Classes and functions, `module.name`, in order.
    pub(crate) globals: Vec<String>,
    /// Place of each text's first appearance among all texts.
    pub(crate) texts: HashMap<String, usize>,
}

/// What state dicts of dense tensors need, and metadata that people commonly put beside them.
const KNOWN: [&str; 44] = [
    "collections.OrderedDict",
    "torch.Size",
    "torch.device",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_tensor_v3",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
    "torch.storage.TypedStorage",
    "torch.storage.UntypedStorage",
    "torch.UntypedStorage",
    "torch.FloatStorage",
    "torch.DoubleStorage",
    "torch.HalfStorage",
    "torch.BFloat16Storage",
    "torch.LongStorage",
    "torch.IntStorage",
    "torch.ShortStorage",
    "torch.CharStorage",
    "torch.ByteStorage",
    "torch.BoolStorage",
    "torch.float32",
    "torch.float",
    "torch.float64",
    "torch.double",
    "torch.float16",
    "torch.half",
    "torch.bfloat16",
    "torch.int64",
    "torch.long",
    "torch.int32",
    "torch.int",
    "torch.int16",
    "torch.short",
    "torch.int8",
    "torch.uint8",
    "torch.uint16",
    "torch.uint32",
    "torch.uint64",
    "torch.bool",
    "builtins.set",
    "builtins.frozenset",
    "__builtin__.set",
    "__builtin__.frozenset",
];

/// The first class or function that no state dict needs.
pub(crate) fn unknown_global(mentions: &Mentions) -> Option<&str> {
    mentions.globals.iter().map(String::as_str).find(|global| !KNOWN.contains(global))
}

/// Reads one pickle and moves the bytes on past its end.
///
/// # Errors
/// If the bytes end before the pickle does, or hold an instruction that no pickle of plain data has.
pub(crate) fn scan(bytes: &mut &[u8]) -> Result<Mentions, String> {
    let mut scanner = Scanner::default();
    loop {
        let code = byte(bytes)?;
        if code == b'.' {
            return Ok(scanner.mentions);
        }
        scanner.step(code, bytes)?;
    }
}

#[derive(Default)]
struct Scanner {
    mentions: Mentions,
    /// The two topmost values where they are texts that were put there one after the other; anything else forgets them.
    top: [Option<String>; 2],
    /// Texts that were stored for later, by their number.
    memo: HashMap<u64, Option<String>>,
}

impl Scanner {
    fn step(&mut self, code: u8, bytes: &mut &[u8]) -> Result<(), String> {
        match code {
            // Texts.
            b'V' | b'S' => {
                let line = line(bytes)?;
                self.text(line.trim_matches(['\'', '"']).to_owned());
            }
            b'U' | 0x8c => self.counted_text(bytes, 1)?,
            b'T' | b'X' => self.counted_text(bytes, 4)?,
            0x8d => self.counted_text(bytes, 8)?,
            // The store.
            b'p' => {
                let number = line(bytes)?.parse().map_err(|_| "a store without a number".to_owned())?;
                self.put(number);
            }
            b'q' => {
                let number = number(bytes, 1)?;
                self.put(number);
            }
            b'r' => {
                let number = number(bytes, 4)?;
                self.put(number);
            }
            0x94 => self.put(self.memo.len() as u64),
            b'g' => {
                let number = line(bytes)?.parse().map_err(|_| "a store without a number".to_owned())?;
                self.get(number);
            }
            b'h' => {
                let number = number(bytes, 1)?;
                self.get(number);
            }
            b'j' => {
                let number = number(bytes, 4)?;
                self.get(number);
            }
            // Classes and functions.
            b'c' => {
                let (module, name) = (line(bytes)?, line(bytes)?);
                self.mentions.globals.push(format!("{module}.{name}"));
                self.push(None);
            }
            0x93 => {
                let [Some(module), Some(name)] = &self.top else {
                    return Err("a class whose name is put together from parts".to_owned());
                };
                self.mentions.globals.push(format!("{module}.{name}"));
                self.push(None);
            }
            b'i' | b'o' | 0x82..=0x84 => {
                return Err(format!("the instruction 0x{code:02x}, which plain data does not need"));
            }
            // The protocol's number and a frame's length change nothing.
            0x80 => _ = take(bytes, 1)?,
            0x95 => _ = take(bytes, 8)?,
            _ => {
                plain(code, bytes)?;
                self.top = [None, None];
            }
        }
        Ok(())
    }

    fn push(&mut self, text: Option<String>) {
        self.top.swap(0, 1);
        self.top[1] = text;
    }

    fn text(&mut self, text: String) {
        let place = self.mentions.texts.len();
        self.mentions.texts.entry(text.clone()).or_insert(place);
        self.push(Some(text));
    }

    fn counted_text(&mut self, bytes: &mut &[u8], n_bytes: usize) -> Result<(), String> {
        let text = counted(bytes, n_bytes)?;
        self.text(String::from_utf8_lossy(text).into_owned());
        Ok(())
    }

    fn put(&mut self, number: u64) {
        self.memo.insert(number, self.top[1].clone());
    }

    fn get(&mut self, number: u64) {
        let text = self.memo.get(&number).cloned().flatten();
        self.push(text);
    }
}

/// An instruction whose argument is of no interest.
fn plain(code: u8, bytes: &mut &[u8]) -> Result<(), String> {
    match code {
        b'('
        | b'0'
        | b'1'
        | b'2'
        | b'N'
        | b'R'
        | b'b'
        | b'd'
        | b'l'
        | b't'
        | b's'
        | b'a'
        | b')'
        | b']'
        | b'}'
        | b'e'
        | b'u'
        | b'Q'
        | 0x81
        | 0x85..=0x89
        | 0x8f..=0x92 => {}
        b'I' | b'L' | b'F' | b'P' => _ = line(bytes)?,
        b'K' => _ = take(bytes, 1)?,
        b'M' => _ = take(bytes, 2)?,
        b'J' => _ = take(bytes, 4)?,
        b'G' => _ = take(bytes, 8)?,
        b'C' | 0x8a => _ = counted(bytes, 1)?,
        b'B' | 0x8b => _ = counted(bytes, 4)?,
        0x8e | 0x96 => _ = counted(bytes, 8)?,
        other => return Err(format!("the unknown instruction 0x{other:02x}")),
    }
    Ok(())
}

fn take<'a>(bytes: &mut &'a [u8], n: usize) -> Result<&'a [u8], String> {
    let (taken, rest) = bytes.split_at_checked(n).ok_or("an early end")?;
    *bytes = rest;
    Ok(taken)
}

fn byte(bytes: &mut &[u8]) -> Result<u8, String> {
    take(bytes, 1).map(|taken| taken[0])
}

/// A little-endian number of up to 8 bytes.
fn number(bytes: &mut &[u8], n_bytes: usize) -> Result<u64, String> {
    Ok(take(bytes, n_bytes)?.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

/// Bytes whose number is given before them.
fn counted<'a>(bytes: &mut &'a [u8], n_bytes: usize) -> Result<&'a [u8], String> {
    let n = number(bytes, n_bytes)?;
    take(bytes, usize::try_from(n).map_err(|_| "an early end")?)
}

fn line<'a>(bytes: &mut &'a [u8]) -> Result<&'a str, String> {
    let end = bytes.iter().position(|&byte| byte == b'\n').ok_or("an early end")?;
    let line = take(bytes, end + 1)?;
    std::str::from_utf8(&line[..end]).map_err(|_| "a line that is no text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globals(pickle: &[u8]) -> Result<Vec<String>, String> {
        scan(&mut &*pickle).map(|mentions| mentions.globals)
    }

    #[test]
    fn a_class_is_named_however_it_is_written() {
        // Both as Python's pickletools.dis shows them: by lines (protocol 2) and by two texts (protocol 4).
        assert_eq!(globals(b"\x80\x02cposix\nsystem\nq\x00U\x02idq\x01\x85R.").unwrap(), ["posix.system"]);
        let stacked = b"\x80\x04\x95\x0e\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94\x93\x94N\x85R.";
        assert_eq!(globals(stacked).unwrap(), ["posix.system"]);
        // From the store, as a second mention is written.
        assert_eq!(globals(b"\x8c\x02os\x94\x8c\x06system\x940h\x00h\x01\x93.").unwrap(), ["os.system"]);
    }

    #[test]
    fn a_class_that_hides_its_name_is_refused() {
        // `torch.Size` on top is taken away again, so that `os.system` is what would be called.
        let hidden = b"\x8c\x02os\x8c\x06system\x8c\x05torch\x8c\x04Size00\x93.";
        assert!(globals(hidden).unwrap_err().contains("put together"), "{:?}", globals(hidden));
        assert!(globals(b"\x8c\x02os0\x93.").is_err());
        assert!(globals(b"(ios\nsystem\n.").is_err());
        assert!(globals(b"\x82\x01.").is_err());
    }

    #[test]
    fn texts_keep_their_order_and_lengths_are_not_believed() {
        let mentions = scan(&mut &b"}(X\x01\0\0\0bK\x01X\x01\0\0\0aK\x02X\x01\0\0\0bK\x03u."[..]).unwrap();
        assert_eq!((mentions.texts["b"], mentions.texts["a"]), (0, 1));
        assert!(globals(b"X\xff\xff\xff\x7fa.").unwrap_err().contains("early end"));
        assert!(globals(b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffa.").unwrap_err().contains("early end"));
        assert!(globals(b"").unwrap_err().contains("early end"));
    }
}
