#include "worker/thrown.h"

#include <cxxabi.h>

#include <cstdlib>
#include <exception>
#include <string>
#include <typeinfo>

namespace penstock {
namespace {

std::string Demangle(const char* name) {
  int status = 0;
  char* text = abi::__cxa_demangle(name, nullptr, nullptr, &status);
  std::string result = status == 0 ? text : name;
  std::free(text);
  return result;
}

}  // namespace

Outcome OutcomeOfThrown() {
  try {
    throw;
  } catch (const std::exception& error) {
    return Outcome::Retry({Demangle(typeid(error).name()), error.what(), ""});
  } catch (...) {
    const std::type_info* type = abi::__cxa_current_exception_type();
    return Outcome::Retry({type != nullptr ? Demangle(type->name()) : "unknown exception",
                           "the handler threw something that is no std::exception", ""});
  }
}

}  // namespace penstock
