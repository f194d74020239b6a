//! The function below the attribute.

use crate::{
    expression::plain,
    update::{Update, last, take_update},
};
use std::collections::BTreeSet;
use syn::{
    Attribute, Error, FnArg, Ident, ItemFn, Pat, Path, ReturnType, Signature, Type,
    spanned::Spanned, visit::Visit, visit_mut::VisitMut,
};

pub(crate) struct Method {
    /// The function without its `#[update]`.
    pub(crate) function: ItemFn,
    pub(crate) update: Update,
    /// Argument patterns as they can stand in a pattern over references.
    pub(crate) patterns: Vec<Pat>,
    pub(crate) types: Vec<Type>,
    /// The first parameter of a durable method: its steps, which are no argument.
    pub(crate) steps: Option<Pat>,
}

impl Method {
    pub(crate) fn parse(mut function: ItemFn, is_durable: bool) -> Result<Self, Error> {
        let update = take_update(&mut function)?;
        let signature = &function.sig;
        if !signature.generics.params.is_empty() {
            return Err(Error::new(
                signature.generics.span(),
                "an exported method can't be generic: write the types out",
            ));
        }
        let steps = match is_durable {
            true => Some(steps(signature)?),
            false => None,
        };
        let (mut patterns, mut types) = (Vec::new(), Vec::new());
        for argument in signature.inputs.iter().skip(usize::from(is_durable)) {
            let FnArg::Typed(argument) = argument else {
                return Err(Error::new(
                    argument.span(),
                    "an exported method has no `self`: write a free function that calls the method",
                ));
            };
            if is_steps(&argument.ty) {
                return Err(Error::new(argument.ty.span(), misplaced_steps(is_durable)));
            }
            let mut unnamed = Unnamed::default();
            unnamed.visit_type(&argument.ty);
            if unnamed.is_reference {
                return Err(Error::new(
                    argument.ty.span(),
                    "an argument must own its data: take `String` for `&str`, `Vec<u8>` for `&[u8]`",
                ));
            }
            unnamed.check("argument", &argument.ty)?;
            let mut pattern = (*argument.pat).clone();
            OverReferences.visit_pat_mut(&mut pattern);
            patterns.push(pattern);
            types.push((*argument.ty).clone());
        }
        if let ReturnType::Type(_, reply) = &signature.output {
            let mut unnamed = Unnamed::default();
            unnamed.visit_type(reply);
            unnamed.check("reply", reply)?;
        }
        Ok(Self {
            function,
            update,
            patterns,
            types,
            steps,
        })
    }

    /// The signature as clients know it.
    pub(crate) fn client_signature(&self) -> Signature {
        let mut signature = self.function.sig.clone();
        let inputs = signature.inputs.into_iter();
        signature.inputs = inputs.skip(usize::from(self.steps.is_some())).collect();
        signature
    }

    pub(crate) fn is_async(&self) -> bool {
        self.function.sig.asyncness.is_some()
    }

    fn bound(&self) -> Vec<Ident> {
        bound(self.patterns.iter())
    }

    /// The names by which expressions know the arguments.
    pub(crate) fn arguments(&self) -> BTreeSet<String> {
        self.bound().iter().map(plain).collect()
    }

    /// The names of the steps.
    pub(crate) fn names_of_steps(&self) -> BTreeSet<String> {
        bound(self.steps.iter()).iter().map(plain).collect()
    }

    /// An argument that only the attribute uses is used all the same: no lint should ask to rename it.
    pub(crate) fn mark_used(&mut self, used: &BTreeSet<String>) {
        let marked = self.bound().into_iter();
        let marked = marked.filter(|argument| used.contains(&plain(argument)));
        let statements = marked.map(|argument| syn::parse_quote!(let _ = &#argument;));
        self.function.block.stmts.splice(0..0, statements);
    }

    /// The name that clients call.
    pub(crate) fn exported_name(&self) -> String {
        self.update
            .name
            .clone()
            .unwrap_or_else(|| self.function.sig.ident.to_string())
    }

    pub(crate) fn return_type(&self) -> Type {
        match &self.function.sig.output {
            ReturnType::Default => syn::parse_quote!(()),
            ReturnType::Type(_, ty) => (**ty).clone(),
        }
    }

    /// How many candid values the reply has. As in ic-cdk the type as written decides: a tuple is a sequence of values.
    pub(crate) fn reply_values(&self) -> usize {
        match &self.function.sig.output {
            ReturnType::Default => 0,
            ReturnType::Type(_, ty) => match &**ty {
                Type::Tuple(tuple) => tuple.elems.len(),
                _ => 1,
            },
        }
    }

    /// Attributes that the generated items share with the function: conditions and docs.
    pub(crate) fn attributes(&self, name: &str) -> Vec<&Attribute> {
        self.function
            .attrs
            .iter()
            .filter(|attribute| attribute.path().is_ident(name))
            .collect()
    }
}

/// The first parameter of a durable method, which is async.
fn steps(signature: &Signature) -> Result<Pat, Error> {
    if signature.asyncness.is_none() {
        return Err(Error::new(
            signature.ident.span(),
            "a sync method is executed as a whole or not at all, so nothing cuts it off: remove `durable` and the steps, or make it `async`",
        ));
    }
    match signature.inputs.first() {
        Some(FnArg::Typed(first)) if is_steps(&first.ty) => Ok((*first.pat).clone()),
        first => Err(Error::new(
            first.map_or_else(|| signature.ident.span(), Spanned::span),
            format!(
                "a durable method begins with its steps, which no client sends: write `async fn {}(steps: Steps, …)`",
                signature.ident
            ),
        )),
    }
}

/// Whether a type is that of steps, as far as its name tells. A user's own type of that name is told by the path on which it is
/// found within the crate.
fn is_steps(ty: &Type) -> bool {
    match ty {
        Type::Group(group) => is_steps(&group.elem),
        Type::Paren(paren) => is_steps(&paren.elem),
        Type::Path(path) => {
            let first = path.path.segments.first();
            let is_of_a_user = path.path.segments.len() == 2
                && first.is_some_and(|first| first.ident == "self" || first.ident == "crate");
            last(&path.path) == "Steps" && !is_of_a_user
        }
        _ => false,
    }
}

fn misplaced_steps(is_durable: bool) -> &'static str {
    match is_durable {
        true => {
            "steps are the first parameter of a durable method, and no argument: take one `Steps`; for a type of your own write `self::Steps`"
        }
        false => {
            "steps are for durable methods: write `durable` in `#[idempotent(…)]`, and `async fn`; for a type of your own write `self::Steps`"
        }
    }
}

/// Arguments are seen as references, so a `mut` or `ref` in a pattern has no place.
struct OverReferences;

impl VisitMut for OverReferences {
    fn visit_pat_ident_mut(&mut self, pattern: &mut syn::PatIdent) {
        pattern.mutability = None;
        pattern.by_ref = None;
        syn::visit_mut::visit_pat_ident_mut(self, pattern);
    }
}

/// The names that patterns bind.
fn bound<'a>(patterns: impl Iterator<Item = &'a Pat>) -> Vec<Ident> {
    let mut bound = Bound(Vec::new());
    patterns.for_each(|pattern| bound.visit_pat(pattern));
    bound.0
}

struct Bound(Vec<Ident>);

impl<'ast> Visit<'ast> for Bound {
    fn visit_pat_ident(&mut self, pattern: &'ast syn::PatIdent) {
        self.0.push(pattern.ident.clone());
        syn::visit::visit_pat_ident(self, pattern);
    }
}

/// What a type must not have where candid needs to know it.
#[derive(Default)]
struct Unnamed {
    is_reference: bool,
    is_impl_trait: bool,
    is_self: bool,
}

impl<'ast> Visit<'ast> for Unnamed {
    fn visit_type(&mut self, ty: &'ast Type) {
        match ty {
            Type::Reference(_) => self.is_reference = true,
            Type::ImplTrait(_) => self.is_impl_trait = true,
            _ => {}
        }
        syn::visit::visit_type(self, ty);
    }

    fn visit_path(&mut self, path: &'ast Path) {
        let first = path.segments.first();
        self.is_self |= first.is_some_and(|first| first.ident == "Self");
        syn::visit::visit_path(self, path);
    }
}

impl Unnamed {
    fn check(&self, what: &str, ty: &Type) -> Result<(), Error> {
        if self.is_impl_trait {
            return Err(Error::new(
                ty.span(),
                format!(
                    "candid must know the type of the {what}: write it out instead of `impl …`"
                ),
            ));
        }
        if self.is_self {
            return Err(Error::new(
                ty.span(),
                "an exported method is a free function: move it out of the `impl`, and write the type out instead of `Self`",
            ));
        }
        Ok(())
    }
}
