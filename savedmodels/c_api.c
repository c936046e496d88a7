/* A SavedModel run from C, through TensorFlow's C API: what a server in C++ does, without Python or Keras.
 *
 *   TF=$(python -c "import tensorflow, os; print(os.path.dirname(tensorflow.__file__))")
 *   cc -std=c11 -O2 -I$TF/include savedmodels/c_api.c -o c_api \
 *     -L$TF -l:libtensorflow_cc.so.2 -l:libtensorflow_framework.so.2 -Wl,-rpath,$TF -lm
 *   ./c_api savedmodels/resnet50/1 predict_bytes a.jpg b.png
 *   ./c_api savedmodels/resnet50/1 serving_default 2 224 224 < two_pictures.rgb
 *
 * predict_bytes sends the files as one batch; serving_default and features read raw uint8 RGB, N H W.
 * Output: for each tensor, by name, a line "name shape: values", row after row.
 * Exit codes: 0; 2 a mistake in the command or a file; 1 TensorFlow's refusal, with its sentence.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"
#include "tensorflow/c/tf_tstring.h"

enum { MOST_OUTPUTS = 16 };

static void fail(int code, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fprintf(stderr, "c_api: ");
  vfprintf(stderr, format, arguments);
  fprintf(stderr, "\n");
  va_end(arguments);
  exit(code);
}

static void check(const TF_Status* status, const char* what) {
  if (TF_GetCode(status) != TF_OK) fail(1, "%s: %s", what, TF_Message(status));
}

/* --- the signature, out of the MetaGraphDef's bytes
 *
 * Of tensorflow/core/protobuf/meta_graph.proto: MetaGraphDef.signature_def = 5, a map, so entries of
 * {key = 1, value = 2}; SignatureDef {inputs = 1, outputs = 2}, maps of TensorInfo {name = 1}.
 */
typedef struct {
  const uint8_t *at, *end;
} Bytes;

static uint64_t varint(Bytes* bytes) {
  uint64_t value = 0;
  for (int shift = 0; bytes->at < bytes->end && shift < 64; shift += 7) {
    uint8_t byte = *bytes->at++;
    value |= (uint64_t)(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  fail(1, "the MetaGraphDef is damaged");
  return 0;
}

/* The next field of a message: its number, and its content where it has one; 0 at the end. */
static int next(Bytes* message, Bytes* content) {
  if (message->at >= message->end) return 0;
  uint64_t tag = varint(message), length = 0;
  switch (tag & 7) {
    case 0: varint(message); break;
    case 1: length = 8; break;
    case 2: length = varint(message); break;
    case 5: length = 4; break;
    default: fail(1, "the MetaGraphDef is damaged");
  }
  if (length > (uint64_t)(message->end - message->at)) fail(1, "the MetaGraphDef is damaged");
  *content = (Bytes){message->at, message->at + length};
  message->at += length;
  return (int)(tag >> 3);
}

static Bytes field(Bytes message, int wanted) {
  Bytes content, last = {NULL, NULL};
  for (int number; (number = next(&message, &content));)
    if (number == wanted) last = content;
  return last;
}

static char* text(Bytes bytes) {
  size_t length = bytes.at ? (size_t)(bytes.end - bytes.at) : 0;
  char* copy = calloc(length + 1, 1);
  if (length) memcpy(copy, bytes.at, length);
  return copy;
}

/* "StatefulPartitionedCall_1:2" -> the graph's operation and 2. */
static TF_Output find(TF_Graph* graph, char* name) {
  char* colon = strrchr(name, ':');
  int index = colon ? atoi(colon + 1) : 0;
  if (colon) *colon = 0;
  TF_Output output = {TF_GraphOperationByName(graph, name), index};
  if (!output.oper) fail(1, "the graph has no operation %s", name);
  return output;
}

typedef struct {
  int count;
  char* names[MOST_OUTPUTS];
  TF_Output tensors[MOST_OUTPUTS];
} Tensors;

static Tensors tensors_of(TF_Graph* graph, Bytes signature, int side) {
  Tensors found = {0};
  Bytes entry;
  for (int number; (number = next(&signature, &entry));) {
    if (number != side) continue;
    if (found.count == MOST_OUTPUTS) fail(1, "more than %d tensors", MOST_OUTPUTS);
    found.names[found.count] = text(field(entry, 1));
    found.tensors[found.count++] = find(graph, text(field(field(entry, 2), 1)));
  }
  return found;
}

static Bytes signature_of(const TF_Buffer* meta_graph, const char* wanted) {
  Bytes message = {meta_graph->data, (const uint8_t*)meta_graph->data + meta_graph->length}, entry;
  for (int number; (number = next(&message, &entry));) {
    if (number != 5) continue;
    char* key = text(field(entry, 1));
    bool same = !strcmp(key, wanted);
    free(key);
    if (same) return field(entry, 2);
  }
  fail(2, "there is no signature %s", wanted);
  return message;
}

/* --- tensors in and out */

static TF_Tensor* encoded_pictures(int count, char** paths) {
  int64_t dims[] = {count};
  TF_Tensor* tensor = TF_AllocateTensor(TF_STRING, dims, 1, sizeof(TF_TString) * (size_t)count);
  TF_TString* strings = TF_TensorData(tensor);
  for (int i = 0; i < count; i++) {
    FILE* file = fopen(paths[i], "rb");
    if (!file || fseek(file, 0, SEEK_END)) fail(2, "%s cannot be read", paths[i]);
    long length = ftell(file);
    char* content = malloc((size_t)length + 1);
    rewind(file);
    if (fread(content, 1, (size_t)length, file) != (size_t)length) fail(2, "%s cannot be read", paths[i]);
    fclose(file);
    TF_TString_Init(&strings[i]);
    TF_TString_Copy(&strings[i], content, (size_t)length);
    free(content);
  }
  return tensor;
}

static TF_Tensor* raw_pictures(char** sizes) {
  int64_t dims[4] = {0, 0, 0, 3};
  size_t bytes = 3;
  for (int i = 0; i < 3; i++) {
    dims[i] = atoll(sizes[i]);
    if (dims[i] < 1 || dims[i] > 65535) fail(2, "%s is no count of pictures or pixels", sizes[i]);
    bytes *= (size_t)dims[i];
  }
  TF_Tensor* tensor = TF_AllocateTensor(TF_UINT8, dims, 4, bytes);
  if (!tensor) fail(2, "there is no memory for %zu bytes", bytes);
  if (fread(TF_TensorData(tensor), 1, bytes, stdin) != bytes || getchar() != EOF)
    fail(2, "standard input is not %zu bytes: N x H x W x 3 of uint8", bytes);
  return tensor;
}

static void print_value(const TF_Tensor* tensor, int64_t i) {
  const void* data = TF_TensorData(tensor);
  switch (TF_TensorType(tensor)) {
    case TF_FLOAT: printf("%.9g", (double)((const float*)data)[i]); break;
    case TF_INT32: printf("%" PRId32, ((const int32_t*)data)[i]); break;
    case TF_BOOL: printf("%s", ((const uint8_t*)data)[i] ? "true" : "false"); break;
    case TF_STRING: {
      const TF_TString* string = (const TF_TString*)data + i;
      fwrite(TF_TString_GetDataPointer(string), 1, TF_TString_GetSize(string), stdout);
      break;
    }
    default: fail(1, "a tensor of type %d is not printed", TF_TensorType(tensor));
  }
}

static void print_tensor(const char* name, const TF_Tensor* tensor) {
  int64_t count = 1;
  printf("%s", name);
  for (int i = 0; i < TF_NumDims(tensor); i++) {
    printf("%c%" PRId64, i ? 'x' : ' ', TF_Dim(tensor, i));
    count *= TF_Dim(tensor, i);
  }
  printf(":");
  for (int64_t i = 0; i < count; i++) {
    putchar('\t');
    print_value(tensor, i);
  }
  putchar('\n');
}

int main(int argc, char** argv) {
  if (argc < 4) fail(2, "usage: c_api FOLDER SIGNATURE PICTURE... or c_api FOLDER SIGNATURE N H W");
  bool encoded = !strcmp(argv[2], "predict_bytes");
  if (!encoded && argc != 6) fail(2, "%s takes N H W, and the pixels on standard input", argv[2]);

  TF_Status* status = TF_NewStatus();
  TF_Graph* graph = TF_NewGraph();
  TF_SessionOptions* options = TF_NewSessionOptions();
  TF_Buffer* meta_graph = TF_NewBuffer();
  const char* tags[] = {"serve"};
  TF_Session* session = TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1, graph,
                                                     meta_graph, status);
  check(status, argv[1]);

  Bytes signature = signature_of(meta_graph, argv[2]);
  Tensors inputs = tensors_of(graph, signature, 1), outputs = tensors_of(graph, signature, 2);
  if (inputs.count != 1) fail(2, "%s has %d inputs, not one", argv[2], inputs.count);

  TF_Tensor* input = encoded ? encoded_pictures(argc - 3, argv + 3) : raw_pictures(argv + 3);
  TF_Tensor* results[MOST_OUTPUTS] = {0};
  TF_SessionRun(session, NULL, inputs.tensors, &input, 1, outputs.tensors, results, outputs.count,
                NULL, 0, NULL, status);
  check(status, argv[2]);
  for (int i = 0; i < outputs.count; i++) {
    print_tensor(outputs.names[i], results[i]);
    TF_DeleteTensor(results[i]);
  }

  TF_DeleteTensor(input);
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteBuffer(meta_graph);
  TF_DeleteSessionOptions(options);
  TF_DeleteGraph(graph);
  TF_DeleteStatus(status);
  return 0;
}
