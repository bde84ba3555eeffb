//! PyTorch checkpoints: tensors in dictionaries, in the archives of PyTorch since 1.6 and the files of before.
//!
//! Nothing in a file is run. The pickle in it is read as a description ([`crate::pickle`]); of what it would call, the few functions
//! that put tensors together are understood here, and all other objects are passed over. Which of the dictionaries is the network
//! is for [`crate::choice`] to say.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use crate::archive::Archive;
use crate::choice::{Holding, Placed};
use crate::entry::{Content, Entry, Kind, Storage};
use crate::floats::{Float, Float8, Format};
use crate::naming::Order;
use crate::pickle::{Call, EARLY_END, Object, Pair, Pickle, Value};
use crate::source::Source;

/// What is asked for instead of a file that holds more than tensors.
pub(crate) const REMEDY: &str = "save the weights alone: torch.save(net.state_dict(), FILE)";

/// Largest pickle that is unpacked, 16 MiB. One that is not packed may be as large as its file.
const MAX_UNPACKED_BYTES: u64 = 16 << 20;

/// Bytes that are read first of a file of before PyTorch 1.6, whose pickles do not tell how long they are.
const HEAD_BYTES: u64 = 1 << 16;

/// What the first pickle of such a file is: 0x1950a86a20f9469cfc6c.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// Deepest dictionary in which tensors are looked for.
const MAX_DEPTH: usize = 8;

/// Largest number of tensors that are found, and of entries of dictionaries that are looked at: they may be the same ones again and
/// again.
const MAX_TENSORS: usize = 1 << 17;
const MAX_VISITS: usize = 1 << 22;

/// Functions that no network is saved with, and that do what their arguments say.
const HARMFUL: [&str; 24] = [
    "builtins.eval",
    "builtins.exec",
    "builtins.compile",
    "builtins.open",
    "builtins.__import__",
    "os.system",
    "os.popen",
    "os.execv",
    "os.execve",
    "os.remove",
    "os.unlink",
    "posix.system",
    "posix.popen",
    "posix.execv",
    "posix.execve",
    "nt.system",
    "subprocess.run",
    "subprocess.call",
    "subprocess.check_call",
    "subprocess.check_output",
    "subprocess.getoutput",
    "subprocess.Popen",
    "pty.spawn",
    "runpy._run_code",
];

/// Whether a file starts like one of `torch.save`'s.
///
/// - `head`: its first bytes, 300 or all that there are
pub(crate) fn looks_like_one(head: &[u8]) -> bool {
    let is_safetensors = head.get(8) == Some(&b'{');
    head.starts_with(b"PK\x03\x04") || (head.first() == Some(&0x80) && !is_safetensors) || is_tar(head)
}

/// The container of PyTorch before 0.1.10.
fn is_tar(head: &[u8]) -> bool {
    head.get(257..262) == Some(b"ustar")
}

/// Finds the tensors of a checkpoint; no tensor's numbers are read yet.
///
/// # Errors
/// What was found in place of tensors.
pub(crate) fn open(source: Source) -> Result<Holding, String> {
    let head = source.read_up_to(0, 300)?;
    if is_tar(&head) {
        return Err("a checkpoint of PyTorch before 0.1.10".to_owned());
    }
    if head.starts_with(b"PK") { of_archive(source) } else { of_pickles(source) }
}

/// Refuses a file that names a function which no network is saved with.
fn check_harmless(pickle: &Pickle) -> Result<(), String> {
    match pickle.globals().iter().find(|global| HARMFUL.contains(&global.as_str())) {
        None => Ok(()),
        Some(harmful) => Err(format!("it would have `{harmful}` called, which no weights need, so it is not read")),
    }
}

fn damaged(found: impl Into<String>) -> String {
    format!("not a whole checkpoint ({})", found.into())
}

fn of_archive(source: Source) -> Result<Holding, String> {
    let archive = Rc::new(Archive::open(source).map_err(damaged)?);
    let folder = folder(&archive)?;
    let order = format!("{folder}byteorder");
    if archive.size(&order).is_some() && archive.read_whole(&order, 16).map_err(damaged)? != b"little" {
        return Err(BIG_ENDIAN.to_owned());
    }
    let bytes = archive.read_whole(&format!("{folder}data.pkl"), MAX_UNPACKED_BYTES).map_err(damaged)?;
    let pickle = Pickle::read(&mut &bytes[..]).map_err(damaged)?;
    check_harmless(&pickle)?;
    let locate = |key: &str, n_bytes: u64| -> Result<Storage, String> {
        let name = format!("{folder}data/{key}");
        Ok(Storage::Record { archive: Rc::clone(&archive), name, n_bytes })
    };
    Reading::new(&pickle, &locate).holding()
}

const BIG_ENDIAN: &str = "a checkpoint of a big-endian machine, whose numbers are written the other way round";

/// The folder within an archive that holds its pickle.
fn folder(archive: &Archive) -> Result<String, String> {
    let names: Vec<&str> = archive.names().collect();
    let ends_with = |ending: &str| names.iter().any(|name| name.ends_with(ending));
    if ends_with("/constants.pkl") || names.iter().any(|name| name.contains("/code/")) {
        return Err("a TorchScript program (net = torch.jit.load(FILE))".to_owned());
    }
    if ends_with("/archive_format") || ends_with("serialized_exported_program.json") {
        return Err("a program of torch.export (net = torch.export.load(FILE).module())".to_owned());
    }
    if ends_with(".npy") {
        return Err("NumPy arrays without a state dict".to_owned());
    }
    if ends_with("model.weights.h5") {
        return Err("a network of Keras, which is not read; supported: its export to ONNX, or PyTorch's".to_owned());
    }
    // More than one would leave open which of them is meant.
    let pickles: Vec<&&str> = names.iter().filter(|name| **name == "data.pkl" || name.ends_with("/data.pkl")).collect();
    match pickles[..] {
        [name] => Ok(name.trim_end_matches("data.pkl").to_owned()),
        _ => Err(damaged("not one data.pkl in the archive")),
    }
}

/// A file of before PyTorch 1.6: a magic number, a version, the system, the object, and the storages in the order of a list.
fn of_pickles(source: Source) -> Result<Holding, String> {
    let source = Rc::new(source);
    let mut n_bytes = HEAD_BYTES;
    loop {
        let head = source.read_up_to(0, n_bytes)?;
        match of_head(&source, &head) {
            Err(found) if found == EARLY_END && n_bytes < source.len() => n_bytes *= 4,
            Err(found) if found == EARLY_END => return Err(damaged(found)),
            other => return other,
        }
    }
}

fn of_head(source: &Rc<Source>, head: &[u8]) -> Result<Holding, String> {
    let mut rest = head;
    let mut read = || Pickle::read(&mut rest).map_err(|found| if found == EARLY_END { found } else { damaged(found) });
    if read()?.root != Value::Bytes(&MAGIC) {
        return Err("a pickle that torch.save did not write".to_owned());
    }
    let (_version, system, object) = (read()?, read()?, read()?);
    check_harmless(&object)?;
    let keys = read()?;
    let is_big = |(key, value): &Pair| *key == Value::Text("little_endian") && *value == Value::Bool(false);
    if system.pairs(system.root).is_some_and(|pairs| pairs.iter().any(is_big)) {
        return Err(BIG_ENDIAN.to_owned());
    }
    let start = (head.len() - rest.len()) as u64;
    let ranges = storage_ranges(source, start, &object, &keys)?;
    let locate = |key: &str, n_bytes: u64| -> Result<Storage, String> {
        let start = *ranges.get(key).ok_or_else(|| damaged(format!("storage {key} is not there")))?;
        let end = start.checked_add(n_bytes).filter(|end| *end <= source.len());
        let end = end.ok_or_else(|| damaged(format!("storage {key} reaches over the end of the file")))?;
        Ok(Storage::Part(Rc::clone(source), start..end))
    };
    Reading::new(&object, &locate).holding()
}

/// Where the storages of such a file start: one after the other, each behind the number of its numbers.
fn storage_ranges<'a>(
    source: &Source,
    mut start: u64,
    object: &Pickle<'a>,
    keys: &Pickle<'a>,
) -> Result<BTreeMap<String, u64>, String> {
    let mut sizes: BTreeMap<&str, u64> = BTreeMap::new();
    for outside in &object.objects {
        if let Object::Outside(name) = outside
            && let Some(StorageName { key, kind, .. }) = storage_name(object, *name)
        {
            sizes.insert(key, kind.1);
        }
    }
    let Some(Object::List(keys)) = keys.object(keys.root) else { return Err(damaged("no list of storages")) };
    let mut ranges = BTreeMap::new();
    for key in keys {
        let Value::Text(key) = key else { return Err(damaged("a storage without a name")) };
        let size = sizes.get(key).ok_or_else(|| damaged(format!("storage {key}, which nothing refers to")))?;
        let count = source.read(start, 8).map_err(damaged)?;
        let count = u64::from_le_bytes(count.try_into().expect("eight bytes were read"));
        ranges.insert((*key).to_owned(), start + 8);
        let end = count.checked_mul(*size).and_then(|n| (start + 8).checked_add(n));
        start = end.ok_or_else(|| damaged(format!("storage {key} reaches over the end of the file")))?;
    }
    Ok(ranges)
}

/// What the pickle calls a storage.
struct StorageName<'a> {
    key: &'a str,
    /// Its type, with the bytes of a number.
    kind: (Kind, u64),
    n_values: u64,
    /// Where it starts in the storage of that key, in numbers: storages of before 1.6 may be parts of others.
    offset: u64,
}

/// `("storage", type, key, device, number of numbers[, (key, offset, number) of a part])`
fn storage_name<'a>(pickle: &Pickle<'a>, name: Value<'a>) -> Option<StorageName<'a>> {
    let &[Value::Text("storage"), kind, Value::Text(key), _, n_values, ref view @ ..] = pickle.tuple(name)? else {
        return None;
    };
    let offset = match view.first().map(|&view| pickle.tuple(view)) {
        Some(Some(&[_, offset, _])) => count(offset)?,
        _ => 0,
    };
    Some(StorageName { key, kind: kind_of(&pickle.global(kind)?), n_values: count(n_values)?, offset })
}

fn count(value: Value) -> Option<u64> {
    match value {
        Value::Int(n) => u64::try_from(n).ok(),
        _ => None,
    }
}

/// The numbers of a storage's or tensor's type, and the bytes of one.
fn kind_of(global: &str) -> (Kind, u64) {
    let name = global.rsplit('.').next().unwrap_or(global);
    let float = match name {
        "FloatStorage" | "float32" | "float" => Format::Wide(Float::F32),
        "DoubleStorage" | "float64" | "double" => Format::Wide(Float::F64),
        "HalfStorage" | "float16" | "half" => Format::Wide(Float::F16),
        "BFloat16Storage" | "bfloat16" => Format::Wide(Float::Bf16),
        "float8_e4m3fn" => Format::Eight(Float8::E4M3),
        "float8_e4m3fnuz" => Format::Eight(Float8::E4M3Fnuz),
        "float8_e5m2" => Format::Eight(Float8::E5M2),
        "float8_e5m2fnuz" => Format::Eight(Float8::E5M2Fnuz),
        _ => {
            let size = match name {
                "LongStorage" | "int64" | "long" | "uint64" | "ComplexFloatStorage" | "complex64" => 8,
                "IntStorage" | "int32" | "int" | "uint32" => 4,
                "ShortStorage" | "int16" | "short" | "uint16" => 2,
                "ComplexDoubleStorage" | "complex128" => 16,
                _ => 1,
            };
            let name = match name {
                "LongStorage" => "int64",
                "IntStorage" => "int32",
                "ShortStorage" => "int16",
                "CharStorage" => "int8",
                "ByteStorage" => "uint8",
                "BoolStorage" => "bool",
                "ComplexFloatStorage" => "complex64",
                "ComplexDoubleStorage" => "complex128",
                other => other,
            };
            return (Kind::Other(name.to_owned()), size);
        }
    };
    let size = float.size() as u64;
    (Kind::Float(float), size)
}

/// What a value is to one who looks for tensors.
enum Node<'a, 'b> {
    Tensor {
        shape: Vec<usize>,
        kind: Kind,
        content: Content,
    },
    Dict(Cow<'b, [Pair<'a>]>),
    /// A list or tuple, whose dictionaries may hold tensors.
    List(&'b [Value<'a>]),
    Other,
}

/// Where storages lie, by key and number of bytes.
type Locate<'b> = dyn Fn(&str, u64) -> Result<Storage, String> + 'b;

/// Place of an object in its pickle.
type ObjectAt = usize;

/// A pickle whose tensors are looked for.
struct Reading<'a, 'b> {
    pickle: &'b Pickle<'a>,
    locate: &'b Locate<'b>,
    storages: HashMap<(&'a str, u64), Rc<Storage>>,
    /// Arrays, by their place in the pickle.
    arrays: HashMap<ObjectAt, Rc<Storage>>,
    n_visits: usize,
    placed: Vec<Placed>,
}

impl<'a, 'b> Reading<'a, 'b> {
    fn new(pickle: &'b Pickle<'a>, locate: &'b Locate<'b>) -> Self {
        let (storages, arrays) = (HashMap::new(), HashMap::new());
        Self { pickle, locate, storages, arrays, n_visits: 0, placed: Vec::new() }
    }

    /// All tensors in dictionaries, in their order.
    fn holding(mut self) -> Result<Holding, String> {
        let root = self.pickle.root;
        self.walk(root, &mut Vec::new())?;
        if self.placed.is_empty() {
            return Err(self.without_tensors());
        }
        Ok(Holding { placed: self.placed, order: Order::OfAppearance })
    }

    fn walk(&mut self, value: Value<'a>, keys: &mut Vec<String>) -> Result<(), String> {
        self.visit()?;
        match self.node(value)? {
            Node::Tensor { shape, kind, content } if !keys.is_empty() => {
                if self.placed.len() == MAX_TENSORS {
                    return Err(format!("more than {MAX_TENSORS} tensors in dictionaries"));
                }
                let name = keys.join(".");
                let entry = Entry { name, shape, kind, content };
                self.placed.push(Placed { keys: keys.clone(), entry });
            }
            Node::Dict(pairs) if keys.len() < MAX_DEPTH => {
                self.chained(value, keys);
                for (key, value) in last_of_each(&pairs) {
                    keys.push(key.to_owned());
                    self.walk(value, keys)?;
                    keys.pop();
                }
            }
            Node::List(values) if keys.len() < MAX_DEPTH => {
                for (at, &value) in values.iter().enumerate() {
                    self.visit()?;
                    // Tensors of a list have no names.
                    if !matches!(self.node(value)?, Node::Tensor { .. }) {
                        keys.push(at.to_string());
                        self.walk(value, keys)?;
                        keys.pop();
                    }
                }
            }
            Node::Tensor { .. } | Node::Dict(_) | Node::List(_) | Node::Other => {}
        }
        Ok(())
    }

    fn visit(&mut self) -> Result<(), String> {
        self.n_visits += 1;
        if self.n_visits > MAX_VISITS { Err(format!("dictionaries of more than {MAX_VISITS} entries")) } else { Ok(()) }
    }

    /// Notes weights that several parametrizations are computed one after the other for: not all have tensors that tell of them, but
    /// a state dict names all modules with their versions.
    fn chained(&mut self, value: Value<'a>, keys: &[String]) {
        let Some(Object::Call(call)) = self.pickle.object(value) else { return };
        let state = self.pickle.pairs(call.state).unwrap_or_default();
        let versions = state.iter().find(|(key, _)| *key == Value::Text("_metadata")).map(|(_, value)| *value);
        let modules = versions.and_then(|versions| self.pickle.pairs(versions)).unwrap_or_default();
        let is_second = |module: &&str| {
            let parts: Vec<&str> = module.rsplitn(4, '.').collect();
            matches!(parts[..], ["1", _, "parametrizations", ..])
        };
        let texts = modules.iter().filter_map(|(key, _)| if let Value::Text(text) = key { Some(*text) } else { None });
        let second = texts.filter(is_second).take(1).map(str::to_owned);
        let reason = "a second parametrization of one weight; supported: weight norm or spectral norm alone";
        let placed: Vec<Placed> = second
            .map(|module| {
                let keys: Vec<String> = keys.iter().cloned().chain([module]).collect();
                let kind = Kind::Opaque(reason.to_owned());
                Placed { entry: Entry::contiguous(keys.join("."), Vec::new(), kind, Storage::Empty), keys }
            })
            .collect();
        self.placed.extend(placed);
    }

    fn node(&mut self, mut value: Value<'a>) -> Result<Node<'a, 'b>, String> {
        loop {
            let (at, call) = match (value, self.pickle.object(value)) {
                (_, Some(Object::Dict(pairs))) => return Ok(Node::Dict(Cow::Borrowed(pairs))),
                (_, Some(Object::List(values) | Object::Tuple(values))) => return Ok(Node::List(values)),
                (Value::Object(at), Some(Object::Call(call))) => (at, call),
                _ => return Ok(Node::Other),
            };
            let name = self.pickle.global(call.function).unwrap_or_default();
            let arguments = self.pickle.tuple(call.arguments).unwrap_or_default();
            match (name.as_str(), arguments) {
                (
                    "torch._utils._rebuild_parameter"
                    | "torch._utils._rebuild_parameter_with_state"
                    | "torch.nn.parameter.Parameter"
                    | "torch.nn.parameter.Buffer",
                    &[inner, ..],
                ) => value = inner,
                ("torch._tensor._rebuild_from_type_v2", &[function, class, inner, ..]) => {
                    return self.of_class(function, class, inner);
                }
                ("numpy.core.multiarray._reconstruct" | "numpy._core.multiarray._reconstruct", _) => {
                    let state = self.pickle.tuple(call.state).unwrap_or_default();
                    return Ok(self.array(at, state));
                }
                ("numpy.core.numeric._frombuffer" | "numpy._core.numeric._frombuffer", &[data, kind, shape, order]) => {
                    let is_fortran = Value::Bool(order == Value::Text("F"));
                    return Ok(self.array(at, &[Value::None, shape, kind, is_fortran, data]));
                }
                (name, arguments) if name.starts_with("torch._utils._rebuild_") => {
                    return self.tensor(name, arguments);
                }
                (name, _) => return Ok(self.container(name, call)),
            }
        }
    }

    /// A tensor of a class of its own, or with attributes: of PyTorch's own classes alone it is known that nothing else is meant.
    fn of_class(&mut self, function: Value<'a>, class: Value<'a>, inner: Value<'a>) -> Result<Node<'a, 'b>, String> {
        let class = self.pickle.global(class).unwrap_or_default();
        let function = self.pickle.global(function).unwrap_or_default();
        let arguments = self.pickle.tuple(inner).unwrap_or_default();
        if ["torch.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer"].contains(&class.as_str()) {
            return self.tensor(&function, arguments);
        }
        Ok(opaque(Vec::new(), format!("a tensor of class `{class}`, which is not read")))
    }

    /// A dictionary under another name; an object of any other class is passed over, unless it is filled like one.
    fn container(&self, name: &str, call: &'b Call<'a>) -> Node<'a, 'b> {
        if !["collections.OrderedDict", "builtins.dict"].contains(&name) {
            return if call.items.is_empty() { Node::Other } else { Node::Dict(Cow::Borrowed(&call.items)) };
        }
        let pickle = self.pickle;
        let first = pickle.tuple(call.arguments).and_then(|arguments| arguments.first().copied());
        let mut pairs: Vec<Pair> = match first.and_then(|first| pickle.object(first)) {
            Some(Object::Dict(pairs)) => pairs.clone(),
            Some(Object::List(list)) => list
                .iter()
                .filter_map(|&pair| match pickle.object(pair)? {
                    Object::Tuple(pair) | Object::List(pair) => Some((*pair.first()?, *pair.get(1)?)),
                    _ => None,
                })
                .collect(),
            _ => return Node::Dict(Cow::Borrowed(&call.items)),
        };
        pairs.extend(&call.items);
        Node::Dict(Cow::Owned(pairs))
    }

    /// A tensor as one of PyTorch's functions puts it together.
    fn tensor(&mut self, function: &str, arguments: &[Value<'a>]) -> Result<Node<'a, 'b>, String> {
        let kind = match function.trim_start_matches("torch._utils.") {
            "_rebuild_tensor" | "_rebuild_tensor_v2" => None,
            "_rebuild_tensor_v3" => {
                let kind = arguments.get(6).and_then(|&kind| self.pickle.global(kind));
                Some(kind_of(&kind.unwrap_or_default()).0)
            }
            "_rebuild_qtensor" => return Ok(opaque(Vec::new(), "a quantized tensor, which is not read".to_owned())),
            other => return Ok(opaque(Vec::new(), format!("a tensor of `{other}`, which is not read"))),
        };
        let malformed = || damaged("a tensor that is not put together as PyTorch does");
        let &[storage, offset, shape, strides, ..] = arguments else { return Err(malformed()) };
        let shape = self.sizes(shape).ok_or_else(malformed)?;
        let strides = self.sizes(strides).filter(|strides| strides.len() == shape.len()).ok_or_else(malformed)?;
        let offset = count(offset).ok_or_else(malformed)?;
        let shape: Vec<usize> = shape.into_iter().map(|size| size as usize).collect();
        let outside = match self.pickle.object(storage) {
            Some(Object::Outside(name)) => storage_name(self.pickle, *name),
            _ => None,
        };
        let Some(outside) = outside else {
            return Ok(opaque(shape, "a tensor whose numbers lie outside of the file".to_owned()));
        };
        let n_bytes = (outside.n_values + outside.offset).checked_mul(outside.kind.1).ok_or_else(malformed)?;
        let storage = self.storage(outside.key, n_bytes, shape.contains(&0))?;
        let offset = offset.checked_add(outside.offset).ok_or_else(malformed)?;
        let content = Content::Stored { storage, offset, strides: Some(strides) };
        Ok(Node::Tensor { shape, kind: kind.unwrap_or(outside.kind.0), content })
    }

    fn storage(&mut self, key: &'a str, n_bytes: u64, is_empty: bool) -> Result<Rc<Storage>, String> {
        if let Some(storage) = self.storages.get(&(key, n_bytes)) {
            return Ok(Rc::clone(storage));
        }
        let storage = Rc::new(if is_empty && n_bytes == 0 { Storage::Empty } else { (self.locate)(key, n_bytes)? });
        self.storages.insert((key, n_bytes), Rc::clone(&storage));
        Ok(storage)
    }

    /// Whole numbers of a tuple, or of a `torch.Size` of one.
    fn sizes(&self, mut value: Value<'a>) -> Option<Vec<u64>> {
        if let Some(Object::Call(call)) = self.pickle.object(value) {
            value = *self.pickle.tuple(call.arguments)?.first()?;
        }
        self.pickle.tuple(value)?.iter().map(|&size| count(size)).collect()
    }

    /// A NumPy array, by its state `(version, shape, type, whether columns come first, bytes)`.
    fn array(&mut self, at: usize, state: &[Value<'a>]) -> Node<'a, 'b> {
        let unread = || opaque(Vec::new(), "a NumPy array of a type that is not read".to_owned());
        let &[_, shape, kind, is_fortran, data] = state else { return unread() };
        let Some(sizes) = self.sizes(shape) else { return unread() };
        let shape: Vec<usize> = sizes.iter().map(|&size| size as usize).collect();
        let Some(kind) = self.array_kind(kind) else { return unread() };
        if !self.arrays.contains_key(&at) {
            let Some(bytes) = self.array_bytes(data) else { return unread() };
            self.arrays.insert(at, Rc::new(Storage::Memory(bytes)));
        }
        let storage = Rc::clone(&self.arrays[&at]);
        let strides = (is_fortran == Value::Bool(true)).then(|| {
            let product = |at: usize| sizes[..at].iter().fold(1_u64, |n, &size| n.saturating_mul(size));
            (0..sizes.len()).map(product).collect()
        });
        Node::Tensor { shape, kind, content: Content::Stored { storage, offset: 0, strides } }
    }

    /// `numpy.dtype("f4", …)` with the state `(3, "<", …)`.
    fn array_kind(&self, kind: Value<'a>) -> Option<Kind> {
        let Object::Call(call) = self.pickle.object(kind)? else { return None };
        let Value::Text(name) = *self.pickle.tuple(call.arguments)?.first()? else { return None };
        let order = self.pickle.tuple(call.state)?.get(1).copied();
        let float = match name {
            "f2" => Format::Wide(Float::F16),
            "f4" => Format::Wide(Float::F32),
            "f8" => Format::Wide(Float::F64),
            other => return Some(Kind::Other(other.to_owned())),
        };
        (order == Some(Value::Text("<"))).then_some(Kind::Float(float))
    }

    /// Bytes as they are, or as letters of Latin-1, which is how protocol 2 writes them.
    fn array_bytes(&self, data: Value<'a>) -> Option<Vec<u8>> {
        if let Value::Bytes(bytes) = data {
            return Some(bytes.to_vec());
        }
        let Object::Call(call) = self.pickle.object(data)? else { return None };
        let arguments = self.pickle.tuple(call.arguments)?;
        match (self.pickle.global(call.function)?.as_str(), arguments) {
            ("_codecs.encode", [Value::Text(text), Value::Text("latin1")]) => {
                text.chars().map(|letter| u8::try_from(u32::from(letter)).ok()).collect()
            }
            _ => None,
        }
    }

    /// What there is where no tensor is.
    fn without_tensors(&mut self) -> String {
        let root = self.pickle.root;
        let pairs = match self.node(root) {
            Ok(Node::Dict(pairs)) => pairs,
            Ok(Node::Tensor { .. }) => return "a tensor, where a dictionary of tensors is needed".to_owned(),
            _ => return format!("{}, where a dictionary of tensors is needed", self.describe(root)),
        };
        if pairs.is_empty() {
            return "a dictionary that is empty, or whose keys are no texts".to_owned();
        }
        let texts: Vec<String> = pairs
            .iter()
            .filter_map(|&(key, value)| match (key, self.pickle.object(value)) {
                (Value::Text(key), Some(Object::Call(_))) => Some(format!("`{key}`, {}", self.describe(value))),
                (Value::Text(key), _) => Some(format!("`{key}`")),
                _ => None,
            })
            .collect();
        format!("no tensors in dictionaries, but {}", texts.join("; "))
    }

    fn describe(&self, value: Value<'a>) -> String {
        match (value, self.pickle.object(value)) {
            (_, Some(Object::Call(call))) => {
                let class = self.pickle.global(call.function).unwrap_or_else(|| "?".to_owned());
                let class = match (class.as_str(), self.pickle.tuple(call.arguments)) {
                    // How objects of classes without a constructor of their own were written.
                    ("copyreg._reconstructor" | "copy_reg._reconstructor", Some(&[class, ..])) => {
                        self.pickle.global(class).unwrap_or_else(|| "?".to_owned())
                    }
                    _ => class,
                };
                format!("an object of `{class}`, which is not built since that would run its code")
            }
            (_, Some(Object::List(_) | Object::Tuple(_))) => "a list".to_owned(),
            (_, Some(Object::Global(module, name))) => format!("`{module}.{name}`"),
            (Value::Text(_) | Value::Bytes(_), _) => "a text".to_owned(),
            (Value::None, _) => "nothing".to_owned(),
            _ => "a number or another plain value".to_owned(),
        }
    }
}

fn opaque<'a, 'b>(shape: Vec<usize>, reason: String) -> Node<'a, 'b> {
    let content = Content::Stored { storage: Rc::new(Storage::Empty), offset: 0, strides: None };
    Node::Tensor { shape, kind: Kind::Opaque(reason), content }
}

/// The last value of each key, in the order of the keys' first.
fn last_of_each<'a>(pairs: &[Pair<'a>]) -> Vec<(&'a str, Value<'a>)> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut unique: Vec<(&str, Value)> = Vec::with_capacity(pairs.len());
    for &(key, value) in pairs {
        let Value::Text(key) = key else { continue };
        let place = *places.entry(key).or_insert(unique.len());
        if place == unique.len() {
            unique.push((key, value));
        } else {
            unique[place].1 = value;
        }
    }
    unique
}
