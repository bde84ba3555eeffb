//! Pickles as descriptions: what a pickle would build, without building it.
//!
//! A pickle is a program for a machine with a stack and a store. Its containers are built here; a class or function is kept as its
//! name, and a call of one as what would be called with what. Nothing is ever called, so no file can run anything, whatever it
//! names; what the calls mean that tensors are made of is for [`crate::checkpoint`] to say.
//!
//! Instructions: `pickletools.py` of Python 3.14, protocols 0 to 5.

use std::collections::{BTreeSet, HashMap};

/// Largest number of values that are kept at a time, 4 million: tensors, containers and their entries. A network of a thousand
/// layers with its optimizer has some ten thousand.
const MAX_VALUES: usize = 4 << 20;

/// A value, or where it lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// A number that nothing here needs: a float, or one of more than 64 bits.
    Number,
    Text(&'a str),
    Bytes(&'a [u8]),
    Object(usize),
}

/// A key and its value.
pub(crate) type Pair<'a> = (Value<'a>, Value<'a>);

/// What has a place of its own, since others may refer to it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Object<'a> {
    Tuple(Vec<Value<'a>>),
    /// A list, without its plain numbers.
    List(Vec<Value<'a>>),
    /// A dictionary, without entries whose keys are no texts.
    Dict(Vec<Pair<'a>>),
    Set,
    /// A class or function: its module and its name.
    Global(&'a str, &'a str),
    Call(Call<'a>),
    /// What lies outside of the pickle, by what names it.
    Outside(Value<'a>),
}

/// What a class or function would be called with, and what would be put into the result.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call<'a> {
    pub(crate) function: Value<'a>,
    /// A tuple.
    pub(crate) arguments: Value<'a>,
    /// Entries, as of a dictionary.
    pub(crate) items: Vec<Pair<'a>>,
    pub(crate) state: Value<'a>,
}

/// What a pickle describes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pickle<'a> {
    pub(crate) root: Value<'a>,
    pub(crate) objects: Vec<Object<'a>>,
}

impl<'a> Pickle<'a> {
    /// Reads one pickle and moves the bytes on past its end.
    ///
    /// # Errors
    /// If the bytes end before the pickle does, or hold what no pickle does.
    pub(crate) fn read(bytes: &mut &'a [u8]) -> Result<Self, String> {
        let mut machine = Machine::default();
        loop {
            let code = byte(bytes)?;
            if code == b'.' {
                return Ok(Self { root: machine.pop()?, objects: machine.objects });
            }
            machine.step(code, bytes)?;
            if machine.n_values + machine.stack.len() + machine.objects.len() > MAX_VALUES {
                return Err(format!("more than {MAX_VALUES} values"));
            }
        }
    }

    /// The object that a value stands for.
    pub(crate) fn object(&self, value: Value<'a>) -> Option<&Object<'a>> {
        match value {
            Value::Object(at) => self.objects.get(at),
            _ => None,
        }
    }

    /// The values of a tuple.
    pub(crate) fn tuple(&self, value: Value<'a>) -> Option<&[Value<'a>]> {
        match self.object(value)? {
            Object::Tuple(values) => Some(values),
            _ => None,
        }
    }

    /// The name of a class or function, with its module; that of Python 2's built-in ones is theirs today.
    pub(crate) fn global(&self, value: Value<'a>) -> Option<String> {
        match self.object(value)? {
            Object::Global("__builtin__", name) => Some(format!("builtins.{name}")),
            Object::Global(module, name) => Some(format!("{module}.{name}")),
            // A class with its source text, as files of before PyTorch 1.6 name it.
            Object::Outside(name) => match self.tuple(*name)? {
                &[Value::Text("module"), class, ..] => self.class_of(class),
                _ => None,
            },
            _ => None,
        }
    }

    fn class_of(&self, value: Value<'a>) -> Option<String> {
        match self.object(value)? {
            Object::Global(module, name) => Some(format!("{module}.{name}")),
            _ => None,
        }
    }

    /// Names of all classes and functions.
    pub(crate) fn globals(&self) -> BTreeSet<String> {
        (0..self.objects.len()).filter_map(|at| self.global(Value::Object(at))).collect()
    }

    /// Entries of a dictionary, or of what is filled like one.
    pub(crate) fn pairs(&self, value: Value<'a>) -> Option<&[Pair<'a>]> {
        match self.object(value)? {
            Object::Dict(pairs) => Some(pairs),
            Object::Call(call) => Some(&call.items),
            _ => None,
        }
    }
}

/// The state of a pickle's machine.
#[derive(Default)]
struct Machine<'a> {
    stack: Vec<Value<'a>>,
    /// Heights of the stack at which groups of values begin.
    marks: Vec<usize>,
    memo: HashMap<u64, Value<'a>>,
    objects: Vec<Object<'a>>,
    /// Values within objects, and in the store.
    n_values: usize,
}

impl<'a> Machine<'a> {
    fn step(&mut self, code: u8, bytes: &mut &'a [u8]) -> Result<(), String> {
        match code {
            b'(' | b'0' | b'1' | b'2' => self.move_values(code),
            b'p' | b'q' | b'r' | 0x94 | b'g' | b'h' | b'j' => self.store(code, bytes),
            b't' | b')' | 0x85..=0x87 | b'l' | b']' | b'd' | b'}' | 0x8f | 0x91 => self.container(code),
            b'a' | b'e' | b's' | b'u' | 0x90 => self.fill(code),
            b'c' | b'i' | b'o' | b'R' | b'b' | b'P' | b'Q' | 0x81 | 0x92 | 0x93 => self.call(code, bytes),
            // The protocol's number and a frame's length change nothing; nor does what makes a buffer read-only.
            0x80 => take(bytes, 1).map(|_| ()),
            0x95 => take(bytes, 8).map(|_| ()),
            0x98 => Ok(()),
            _ => {
                let value = plain(code, bytes)?;
                self.stack.push(value);
                Ok(())
            }
        }
    }

    fn pop(&mut self) -> Result<Value<'a>, String> {
        // Values before a mark are not to be reached while it stands.
        match self.marks.last() {
            Some(&mark) if self.stack.len() <= mark => Err("nothing on the stack".to_owned()),
            _ => self.stack.pop().ok_or_else(|| "nothing on the stack".to_owned()),
        }
    }

    fn top(&self) -> Result<Value<'a>, String> {
        self.stack.last().copied().ok_or_else(|| "nothing on the stack".to_owned())
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value<'a>>, String> {
        let mark = self.marks.pop().ok_or("no mark on the stack")?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn push(&mut self, object: Object<'a>) {
        self.n_values += match &object {
            Object::Tuple(values) | Object::List(values) => values.len(),
            Object::Dict(pairs) => 2 * pairs.len(),
            _ => 0,
        };
        self.objects.push(object);
        self.stack.push(Value::Object(self.objects.len() - 1));
    }

    fn move_values(&mut self, code: u8) -> Result<(), String> {
        match code {
            b'(' => self.marks.push(self.stack.len()),
            // A mark that nothing follows is what is taken away then.
            b'0' if self.marks.last() == Some(&self.stack.len()) => _ = self.marks.pop(),
            b'0' => _ = self.pop()?,
            b'1' => _ = self.pop_to_mark()?,
            _ => self.stack.push(self.top()?),
        }
        if self.marks.len() > MAX_VALUES { Err(format!("more than {MAX_VALUES} marks")) } else { Ok(()) }
    }

    fn store(&mut self, code: u8, bytes: &mut &'a [u8]) -> Result<(), String> {
        let at = match code {
            0x94 => self.memo.len() as u64,
            b'p' | b'g' => line(bytes)?.parse().map_err(|_| "a store without a number".to_owned())?,
            b'q' | b'h' => number(bytes, 1)?,
            _ => number(bytes, 4)?,
        };
        if matches!(code, b'g' | b'h' | b'j') {
            self.stack.push(*self.memo.get(&at).ok_or("nothing in the store")?);
        } else {
            self.n_values += usize::from(self.memo.insert(at, self.top()?).is_none());
        }
        Ok(())
    }

    fn container(&mut self, code: u8) -> Result<(), String> {
        let object = match code {
            b't' => Object::Tuple(self.pop_to_mark()?),
            b')' => Object::Tuple(Vec::new()),
            0x85..=0x87 => {
                let mut values = (0x84..code).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
                values.reverse();
                Object::Tuple(values)
            }
            b'l' => Object::List(self.pop_to_mark()?.into_iter().filter(is_kept).collect()),
            b']' => Object::List(Vec::new()),
            b'd' => Object::Dict(pairs(&self.pop_to_mark()?)?),
            b'}' => Object::Dict(Vec::new()),
            0x91 => {
                self.pop_to_mark()?;
                Object::Set
            }
            _ => Object::Set,
        };
        self.push(object);
        Ok(())
    }

    fn fill(&mut self, code: u8) -> Result<(), String> {
        let values = match code {
            b'a' => vec![self.pop()?],
            b's' => {
                let value = self.pop()?;
                vec![self.pop()?, value]
            }
            _ => self.pop_to_mark()?,
        };
        let Value::Object(at) = self.top()? else { return Err("entries of what has none".to_owned()) };
        let mut n_new = 0;
        match (code, &mut self.objects[at]) {
            (b'a' | b'e', Object::List(list)) => {
                let kept = list.len();
                list.extend(values.into_iter().filter(is_kept));
                n_new = list.len() - kept;
            }
            (b's' | b'u', Object::Dict(items) | Object::Call(Call { items, .. })) => {
                let new = pairs(&values)?;
                n_new = 2 * new.len();
                items.extend(new);
            }
            // Entries of other lists and of sets.
            (b'a' | b'e' | 0x90, Object::Call(_)) | (0x90, Object::Set) => {}
            _ => return Err("entries of what has none".to_owned()),
        }
        self.n_values += n_new;
        Ok(())
    }

    fn call(&mut self, code: u8, bytes: &mut &'a [u8]) -> Result<(), String> {
        match code {
            b'c' => {
                let (module, name) = (line(bytes)?, line(bytes)?);
                self.push(Object::Global(module, name));
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Text(module), Value::Text(name)) = (module, name) else {
                    return Err("a class whose name is no text".to_owned());
                };
                self.push(Object::Global(module, name));
            }
            b'R' | 0x81 => {
                let arguments = self.pop()?;
                let function = self.pop()?;
                self.push_call(function, arguments);
            }
            0x92 => {
                _ = self.pop()?;
                let arguments = self.pop()?;
                let function = self.pop()?;
                self.push_call(function, arguments);
            }
            b'i' => {
                let (module, name) = (line(bytes)?, line(bytes)?);
                let arguments = self.pop_to_mark()?;
                self.call_of(Object::Global(module, name), arguments)?;
            }
            b'o' => {
                let mut arguments = self.pop_to_mark()?;
                if arguments.is_empty() {
                    return Err("a call of nothing".to_owned());
                }
                let function = arguments.remove(0);
                self.push(Object::Tuple(arguments));
                let arguments = self.pop()?;
                self.push_call(function, arguments);
            }
            b'b' => self.build()?,
            b'P' => {
                let name = Value::Text(line(bytes)?);
                self.push(Object::Outside(name));
            }
            _ => {
                let name = self.pop()?;
                self.push(Object::Outside(name));
            }
        }
        Ok(())
    }

    /// Sets the state of an object. Of a container it has no meaning: of a state dict it is the versions of its modules.
    fn build(&mut self) -> Result<(), String> {
        let state = self.pop()?;
        let Value::Object(at) = self.top()? else { return Err("a state of what has none".to_owned()) };
        if let Object::Call(call) = &mut self.objects[at] {
            call.state = state;
        }
        Ok(())
    }

    fn push_call(&mut self, function: Value<'a>, arguments: Value<'a>) {
        self.push(Object::Call(Call { function, arguments, items: Vec::new(), state: Value::None }));
    }

    fn call_of(&mut self, function: Object<'a>, arguments: Vec<Value<'a>>) -> Result<(), String> {
        self.push(function);
        let function = self.pop()?;
        self.push(Object::Tuple(arguments));
        let arguments = self.pop()?;
        self.push_call(function, arguments);
        Ok(())
    }
}

/// Whether a list keeps a value: its plain numbers are of no use.
fn is_kept(value: &Value) -> bool {
    matches!(value, Value::Text(_) | Value::Object(_))
}

/// Keys with their values, but for keys that are no texts.
fn pairs<'a>(values: &[Value<'a>]) -> Result<Vec<Pair<'a>>, String> {
    let (pairs, rest) = values.as_chunks::<2>();
    if !rest.is_empty() {
        return Err("a key without a value".to_owned());
    }
    Ok(pairs.iter().filter(|[key, _]| matches!(key, Value::Text(_))).map(|&[key, value]| (key, value)).collect())
}

/// A value that is written out.
fn plain<'a>(code: u8, bytes: &mut &'a [u8]) -> Result<Value<'a>, String> {
    Ok(match code {
        b'N' => Value::None,
        0x88 => Value::Bool(true),
        0x89 => Value::Bool(false),
        b'K' => Value::Int(number(bytes, 1)? as i64),
        b'M' => Value::Int(number(bytes, 2)? as i64),
        b'J' => Value::Int(i64::from(number(bytes, 4)? as u32 as i32)),
        b'I' | b'L' => match line(bytes)? {
            "00" => Value::Bool(false),
            "01" => Value::Bool(true),
            digits => digits.trim_end_matches('L').parse().map_or(Value::Number, Value::Int),
        },
        0x8a => long(counted(bytes, 1)?),
        0x8b => long(counted(bytes, 4)?),
        b'F' => {
            line(bytes)?;
            Value::Number
        }
        b'G' => {
            take(bytes, 8)?;
            Value::Number
        }
        b'V' | b'S' => {
            let text = line(bytes)?.trim_matches(['\'', '"']);
            // Letters that are written as numbers occur in no name that is looked for.
            if text.contains('\\') { Value::Bytes(text.as_bytes()) } else { Value::Text(text) }
        }
        b'U' | 0x8c => text(counted(bytes, 1)?),
        b'T' | b'X' => text(counted(bytes, 4)?),
        0x8d => text(counted(bytes, 8)?),
        b'C' => Value::Bytes(counted(bytes, 1)?),
        b'B' => Value::Bytes(counted(bytes, 4)?),
        0x8e | 0x96 => Value::Bytes(counted(bytes, 8)?),
        0x82..=0x84 | 0x97 => return Err(format!("the instruction 0x{code:02x}, which torch.save does not write")),
        other => return Err(format!("the unknown instruction 0x{other:02x}")),
    })
}

fn text(bytes: &[u8]) -> Value<'_> {
    std::str::from_utf8(bytes).map_or(Value::Bytes(bytes), Value::Text)
}

/// A little-endian whole number with its sign; one of more than 64 bits stays what it is written as.
fn long(bytes: &[u8]) -> Value<'_> {
    if bytes.len() > 8 {
        return Value::Bytes(bytes);
    }
    let is_negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let start = if is_negative { -1 } else { 0 };
    Value::Int(bytes.iter().rev().fold(start, |number: i64, &byte| number << 8 | i64::from(byte)))
}

fn take<'a>(bytes: &mut &'a [u8], n: usize) -> Result<&'a [u8], String> {
    let (taken, rest) = bytes.split_at_checked(n).ok_or(EARLY_END)?;
    *bytes = rest;
    Ok(taken)
}

/// What is found where bytes end before a pickle does.
pub(crate) const EARLY_END: &str = "an early end";

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
    take(bytes, usize::try_from(n).map_err(|_| EARLY_END)?)
}

fn line<'a>(bytes: &mut &'a [u8]) -> Result<&'a str, String> {
    let end = bytes.iter().position(|&byte| byte == b'\n').ok_or(EARLY_END)?;
    let line = take(bytes, end + 1)?;
    std::str::from_utf8(&line[..end]).map_err(|_| "a line that is no text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Pickle<'_>, String> {
        let mut rest = bytes;
        Pickle::read(&mut rest)
    }

    fn globals(bytes: &[u8]) -> Vec<String> {
        read(bytes).unwrap().globals().into_iter().collect()
    }

    #[test]
    fn a_class_is_named_however_it_is_written() {
        // Both as Python's pickletools.dis shows them: by lines (protocol 2) and by two texts (protocol 4).
        assert_eq!(globals(b"\x80\x02cposix\nsystem\nq\x00U\x02idq\x01\x85R."), ["posix.system"]);
        let stacked = b"\x80\x04\x95\x0e\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94\x93\x94N\x85R.";
        assert_eq!(globals(stacked), ["posix.system"]);
        // From the store, as a second mention is written.
        assert_eq!(globals(b"\x8c\x02os\x94\x8c\x06system\x940h\x00h\x01\x93."), ["os.system"]);
        // Another name on top that is taken away again.
        assert_eq!(globals(b"\x8c\x02os\x8c\x06system\x8c\x05torch\x8c\x04Size00\x93."), ["os.system"]);
        assert_eq!(globals(b"(ios\nsystem\n."), ["os.system"]);
        assert_eq!(globals(b"(cos\nsystem\no."), ["os.system"]);
        assert_eq!(globals(b"c__builtin__\neval\n."), ["builtins.eval"]);
    }

    #[test]
    fn a_call_is_kept_as_what_would_be_called_with_what() {
        let pickle = read(b"\x80\x02cm\nf\nK\x05\x85RK\x01b.").unwrap();
        let Some(Object::Call(call)) = pickle.object(pickle.root) else { panic!("{pickle:?}") };
        assert_eq!(pickle.global(call.function).unwrap(), "m.f");
        assert_eq!(pickle.tuple(call.arguments).unwrap(), [Value::Int(5)]);
        assert_eq!(call.state, Value::Int(1));
    }

    #[test]
    fn texts_keep_their_order_and_lengths_are_not_believed() {
        let pickle = read(b"}(X\x01\0\0\0bK\x01X\x01\0\0\0aK\x02K\x07K\x08u.").unwrap();
        let expected = [(Value::Text("b"), Value::Int(1)), (Value::Text("a"), Value::Int(2))];
        assert_eq!(pickle.pairs(pickle.root).unwrap(), expected);
        for cut in [&b"X\xff\xff\xff\x7fa."[..], b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffa.", b"", b"cos\n"] {
            assert_eq!(read(cut).unwrap_err(), EARLY_END);
        }
    }

    #[test]
    fn numbers_are_read_with_their_sign() {
        // As pickle.dumps writes them at protocols 0 and 2.
        for (bytes, expected) in [
            (&b"J\xfe\xff\xff\xff."[..], -2),
            (b"\x8a\x01\xff.", -1),
            (b"\x8a\x00.", 0),
            (b"\x8a\x05\0\0\0\0\x01.", 1 << 32),
            (b"L-12L\n.", -12),
            (b"M\x00\x80.", 1 << 15),
        ] {
            assert_eq!(read(bytes).unwrap().root, Value::Int(expected));
        }
    }

    #[test]
    fn what_no_pickle_holds_is_refused() {
        let cases: [(&[u8], &str); 9] = [
            (b".", "nothing on the stack"),
            (b"K\x01(0R.", "nothing on the stack"),
            (b"K\x01(R.", "nothing on the stack"),
            (b"t.", "no mark"),
            (b"K\x01K\x02a.", "entries of what has none"),
            (b"}(K\x01u.", "a key without a value"),
            (b"h\x05.", "nothing in the store"),
            (b"\x82\x01.", "instruction 0x82"),
            (b"\xff.", "unknown instruction 0xff"),
        ];
        for (bytes, expected) in cases {
            let error = read(bytes).unwrap_err();
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }

    #[test]
    fn values_that_nothing_needs_are_not_kept() {
        // A history of a million floats takes no place.
        let mut bytes = b"](".to_vec();
        for _ in 0..1000 {
            bytes.extend(b"G\0\0\0\0\0\0\0\0K\x01N");
        }
        bytes.extend(b"e.");
        let pickle = read(&bytes).unwrap();
        assert_eq!(pickle.objects, [Object::List(Vec::new())]);
    }

    #[test]
    fn more_values_than_any_network_has_are_refused() {
        let error = read(&vec![b']'; MAX_VALUES + 9]).unwrap_err();
        assert!(error.contains("more than 4194304 values"), "{error}");
    }
}
