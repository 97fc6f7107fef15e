//! The example of a body is assembled from the examples of its members, so that it always matches the types.

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::openapi::schema::{ArrayItems, Schema};
use utoipa::openapi::{Content, OpenApi, RefOr};

type Schemas = BTreeMap<String, RefOr<Schema>>;

/// Gives every body that has no example the one of its schema.
pub fn complete(document: &mut OpenApi) {
    let schemas: Schemas = document.components.iter().flat_map(|parts| parts.schemas.clone()).collect();
    let items = document.paths.paths.values_mut();
    let operations =
        items.flat_map(|item| [&mut item.get, &mut item.post, &mut item.put, &mut item.delete]).flatten();
    for operation in operations {
        if let Some(RefOr::T(request)) = &mut operation.request_body {
            request.content.values_mut().for_each(|content| add_example(content, &schemas));
        }
        for response in operation.responses.responses.values_mut() {
            let RefOr::T(response) = response else { continue };
            response.content.values_mut().for_each(|content| add_example(content, &schemas));
        }
    }
}

fn add_example(content: &mut RefOr<Content>, schemas: &Schemas) {
    let RefOr::T(content) = content else { return };
    if content.example.is_none() && content.examples.is_empty() {
        content.example = content.schema.as_ref().and_then(|schema| example_of(schema, schemas));
    }
}

/// The example of a schema; `None` if a part has none.
fn example_of(schema: &RefOr<Schema>, schemas: &Schemas) -> Option<Value> {
    let schema = match schema {
        RefOr::T(schema) => schema,
        RefOr::Ref(named) => {
            return example_of(schemas.get(named.ref_location.rsplit('/').next()?)?, schemas);
        }
    };
    match schema {
        Schema::Object(object) if object.properties.is_empty() => object.example.clone(),
        Schema::Object(object) => {
            let members = object.properties.iter();
            members.map(|(name, member)| Some((name.clone(), example_of(member, schemas)?))).collect()
        }
        Schema::Array(array) => array.example.clone().or_else(|| match &array.items {
            ArrayItems::RefOrSchema(item) => Some(Value::Array(vec![example_of(item, schemas)?])),
            ArrayItems::False => None,
        }),
        Schema::OneOf(one_of) => one_of.items.iter().find_map(|item| example_of(item, schemas)),
        _ => None,
    }
}
