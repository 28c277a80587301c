#ifndef PENSTOCK_BROKER_RPC_WHERE_H_
#define PENSTOCK_BROKER_RPC_WHERE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace penstock::broker {

// A condition on fields of a payload that is JSON (docs/filters.md). Immutable; any thread.
//
//   or      = and ("||" and)*
//   and     = not ("&&" not)*
//   not     = "!" not | "(" or ")" | test
//   test    = path [("==" | "!=" | "<" | "<=" | ">" | ">=" | "contains") literal | "in" "[" literal ("," literal)* "]"]
//           | "has" "(" path ")"
//   path    = "payload" ("." name | "[" index "]" | "[" text "]")*      name: A-Z a-z 0-9 _ -, no digit or - in front
//   literal = text | number | "true" | "false" | "null"                 text: in " or ', with the escapes of JSON
//
// A path alone means that its value is true. Values that cannot be compared with the literal, and those that are not
// there, fail every test, `!=` too.
class Where {
 public:
  static constexpr size_t kTextMax = 1'024;
  static constexpr int kDepthMax = 32;  // of parentheses and negations

  // InvalidArgument says where it is wrong and what would be valid there.
  static absl::StatusOr<Where> Parse(std::string_view text);

  // False, too, of what is no JSON. Time and memory grow with the payload by the byte, whatever is in it.
  bool Fits(std::string_view payload) const;

 private:
  friend class WhereParser;
  friend class WhereReader;

  struct Literal {
    enum class Kind : uint8_t { kNull, kBool, kNumber, kText };
    Kind kind = Kind::kNull;
    bool truth = false;
    long double number = 0;  // holds every 64-bit integer and every double exactly
    std::string text;
  };

  // A step into an object, or into an array.
  struct Step {
    bool is_index = false;
    uint64_t index = 0;
    std::string name;
  };

  enum class Operator : uint8_t { kEqual, kUnequal, kLess, kLessEqual, kGreater, kGreaterEqual, kIn, kContains, kHas };

  // A test of the value at a path.
  struct Test {
    std::vector<Step> path;
    Operator op = Operator::kEqual;
    std::vector<Literal> literals;
  };

  struct Node {
    enum class Kind : uint8_t { kTest, kNot, kAnd, kOr };
    Kind kind = Kind::kTest;
    size_t test = 0;
    std::vector<size_t> children;
  };

  Where() = default;
  bool Evaluate(size_t node, const std::vector<bool>& results) const;

  std::vector<Test> tests_;
  std::vector<Node> nodes_;
  size_t root_ = 0;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_WHERE_H_
