#include "broker/rpc/where_reader.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "nlohmann/json.hpp"

namespace penstock::broker {

using Json = nlohmann::json;

class WhereReader::Handler final : public Json::json_sax_t {
 public:
  Handler(const Where& where, std::vector<bool>* results) : tests_(where.tests_), results_(*results) {}

  bool null() override { return Take({}); }
  bool boolean(bool truth) override {
    Value value;
    value.kind = Value::Kind::kBool;
    value.truth = truth;
    return Take(value);
  }
  bool number_integer(Json::number_integer_t number) override { return TakeNumber(static_cast<long double>(number)); }
  bool number_unsigned(Json::number_unsigned_t number) override { return TakeNumber(static_cast<long double>(number)); }
  bool number_float(Json::number_float_t number, const Json::string_t&) override { return TakeNumber(number); }
  bool string(Json::string_t& text) override {
    Value value;
    value.kind = Value::Kind::kText;
    value.text = text;
    return Take(value);
  }
  bool binary(Json::binary_t&) override { return true; }
  bool start_object(std::size_t) override { return Enter(Value::Kind::kObject); }
  bool start_array(std::size_t) override { return Enter(Value::Kind::kArray); }
  bool key(Json::string_t& name) override {
    if (skipped_ == 0) levels_.back().name = name;
    return true;
  }
  bool end_object() override { return Leave(); }
  bool end_array() override { return Leave(); }
  bool parse_error(std::size_t, const std::string&, const Json::exception&) override { return false; }

 private:
  using Literal = Where::Literal;
  using Operator = Where::Operator;
  using Test = Where::Test;

  struct Value {
    enum class Kind : uint8_t { kNull, kBool, kNumber, kText, kArray, kObject };
    Kind kind = Kind::kNull;
    bool truth = false;
    long double number = 0;
    std::string_view text;
  };

  // An object or array on the way to the value at hand.
  struct Level {
    bool is_array = false;
    size_t next = 0;            // of an array: the index of the next element
    std::string name;           // of an object: the field that is being read
    std::vector<size_t> tests;  // those whose paths lead to it, or through it
  };

  bool TakeNumber(long double number) {
    Value value;
    value.kind = Value::Kind::kNumber;
    value.number = number;
    return Take(value);
  }

  bool Take(const Value& value) {
    if (skipped_ == 0) Arrive(value);
    return true;
  }

  bool Enter(Value::Kind kind) {
    if (skipped_ > 0) {
      ++skipped_;
      return true;
    }
    Value value;
    value.kind = kind;
    std::vector<size_t> tests = Arrive(value);
    if (tests.empty()) {
      skipped_ = 1;
      return true;
    }
    Level level;
    level.is_array = kind == Value::Kind::kArray;
    level.tests = std::move(tests);
    levels_.push_back(std::move(level));
    return true;
  }

  bool Leave() {
    if (skipped_ > 0) {
      --skipped_;
    } else {
      levels_.pop_back();
    }
    return true;
  }

  // Decides the tests of this value, and returns those whose paths lead to it or through it.
  std::vector<size_t> Arrive(const Value& value) {
    std::vector<size_t> here;
    const size_t depth = levels_.size();  // steps that lead to it
    if (depth == 0) {
      for (size_t test = 0; test < tests_.size(); ++test) here.push_back(test);
    } else {
      Level& level = levels_.back();
      for (size_t test : level.tests) {
        const std::vector<Where::Step>& path = tests_[test].path;
        if (path.size() + 1 == depth) {
          const bool has = level.is_array && tests_[test].op == Operator::kContains;
          if (has && Equals(value, tests_[test].literals[0])) results_[test] = true;
          continue;
        }
        const Where::Step& step = path[depth - 1];
        const bool leads =
            level.is_array ? step.is_index && step.index == level.next : !step.is_index && step.name == level.name;
        if (leads) here.push_back(test);
      }
      ++level.next;
    }
    for (size_t test : here) {
      // A field that comes again replaces what it was, and all that was in it.
      results_[test] = tests_[test].path.size() == depth && Passes(tests_[test], value);
    }
    return here;
  }

  static bool Equals(const Value& value, const Literal& literal) {
    switch (literal.kind) {
      case Literal::Kind::kNull:
        return value.kind == Value::Kind::kNull;
      case Literal::Kind::kBool:
        return value.kind == Value::Kind::kBool && value.truth == literal.truth;
      case Literal::Kind::kNumber:
        return value.kind == Value::Kind::kNumber && value.number == literal.number;
      case Literal::Kind::kText:
        return value.kind == Value::Kind::kText && value.text == literal.text;
    }
    return false;
  }

  // Below 0, 0, above 0; REQUIRES: both are numbers, or both texts.
  static int Compare(const Value& value, const Literal& literal) {
    if (literal.kind == Literal::Kind::kText) return value.text.compare(literal.text);
    return value.number < literal.number ? -1 : value.number > literal.number ? 1 : 0;
  }

  static bool AreOfOneKind(const Value& value, const Literal& literal) {
    switch (literal.kind) {
      case Literal::Kind::kNull:
        return true;  // anything is null, or not
      case Literal::Kind::kBool:
        return value.kind == Value::Kind::kBool;
      case Literal::Kind::kNumber:
        return value.kind == Value::Kind::kNumber;
      case Literal::Kind::kText:
        return value.kind == Value::Kind::kText;
    }
    return false;
  }

  static bool Passes(const Test& test, const Value& value) {
    if (test.op == Operator::kHas) return true;
    if (test.op == Operator::kIn) {
      return std::any_of(test.literals.begin(), test.literals.end(),
                         [&](const Literal& literal) { return Equals(value, literal); });
    }
    const Literal& literal = test.literals[0];
    if (!AreOfOneKind(value, literal)) return false;
    switch (test.op) {
      case Operator::kEqual:
        return Equals(value, literal);
      case Operator::kUnequal:
        return !Equals(value, literal);
      case Operator::kLess:
        return Compare(value, literal) < 0;
      case Operator::kLessEqual:
        return Compare(value, literal) <= 0;
      case Operator::kGreater:
        return Compare(value, literal) > 0;
      case Operator::kGreaterEqual:
        return Compare(value, literal) >= 0;
      case Operator::kContains:
        return literal.kind == Literal::Kind::kText && value.text.find(literal.text) != std::string_view::npos;
      case Operator::kIn:
      case Operator::kHas:
        break;
    }
    return false;
  }

  const std::vector<Test>& tests_;
  std::vector<bool>& results_;
  std::vector<Level> levels_;
  size_t skipped_ = 0;  // how deep it is in a value that no path leads into
};

bool WhereReader::Read(const Where& where, std::string_view payload, std::vector<bool>* results) {
  Handler handler(where, results);
  return Json::sax_parse(payload.begin(), payload.end(), &handler);
}

}  // namespace penstock::broker
