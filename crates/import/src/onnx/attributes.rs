//! A node's attributes, each to be read by its kind: one that is not read refuses the node, since it could change what it computes.

use std::cell::RefCell;

use super::proto::{Attribute, Node, Tensor, kind};

pub(super) struct Attributes<'a> {
    all: &'a [Attribute],
    used: RefCell<Vec<&'a str>>,
}

impl<'a> Attributes<'a> {
    pub(super) fn new(node: &'a Node) -> Self {
        Self { all: &node.attribute, used: RefCell::default() }
    }

    fn find(&self, name: &str, wanted: i32) -> Result<Option<&'a Attribute>, String> {
        let Some(attribute) = self.all.iter().find(|attribute| attribute.name == name) else { return Ok(None) };
        self.used.borrow_mut().push(&attribute.name);
        // Writers of old leave the kind out.
        if attribute.kind != wanted && attribute.kind != 0 {
            return Err(format!("attribute `{name}` is of kind {} where {wanted} is needed", attribute.kind));
        }
        Ok(Some(attribute))
    }

    /// The only attribute, whatever its name.
    pub(super) fn single(&self) -> Option<&'a Attribute> {
        let [attribute] = self.all else { return None };
        self.used.borrow_mut().push(&attribute.name);
        Some(attribute)
    }

    pub(super) fn int(&self, name: &str, default: i64) -> Result<i64, String> {
        Ok(self.find(name, kind::INT)?.map_or(default, |attribute| attribute.i))
    }

    pub(super) fn float(&self, name: &str, default: f32) -> Result<f32, String> {
        Ok(self.find(name, kind::FLOAT)?.map_or(default, |attribute| attribute.f))
    }

    pub(super) fn ints(&self, name: &str) -> Result<Option<&'a Vec<i64>>, String> {
        Ok(self.find(name, kind::INTS)?.map(|attribute| &attribute.ints))
    }

    pub(super) fn string(&self, name: &str, default: &str) -> Result<String, String> {
        let found = self.find(name, kind::STRING)?;
        Ok(found.map_or(default.to_owned(), |attribute| String::from_utf8_lossy(&attribute.s).into_owned()))
    }

    pub(super) fn tensor(&self, name: &str) -> Result<Option<&'a Tensor>, String> {
        Ok(self.find(name, kind::TENSOR)?.and_then(|attribute| attribute.t.as_ref()))
    }

    /// Reads attributes that change nothing of what is followed here.
    pub(super) fn pass(&self, names: &[&str]) {
        let known = self.all.iter().filter(|attribute| names.contains(&attribute.name.as_str()));
        self.used.borrow_mut().extend(known.map(|attribute| attribute.name.as_str()));
    }

    /// # Errors
    /// If an attribute was not read, or stands twice.
    pub(super) fn finish(self) -> Result<(), String> {
        let used = self.used.into_inner();
        for (at, attribute) in self.all.iter().enumerate() {
            if !used.contains(&attribute.name.as_str()) {
                return Err(format!("attribute `{}` is not understood", attribute.name));
            }
            if self.all[..at].iter().any(|other| other.name == attribute.name) {
                return Err(format!("attribute `{}` stands twice", attribute.name));
            }
        }
        Ok(())
    }
}
